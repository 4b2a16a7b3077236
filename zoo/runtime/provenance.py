"""Which code a record was made by, and names that outlive a move of that code."""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zoo.files import PACKAGE, PROJECT
from zoo.runtime.syntax import syntax, syntax_of

DISTRIBUTION = "zoo-bench"


def zoo_version() -> str:
    """The version of this code: what the checkout says, or the metadata of an installed package."""
    try:
        project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        if project["name"] == DISTRIBUTION:
            return str(project["version"])
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        pass  # no checkout
    from importlib.metadata import version

    return version(DISTRIBUTION)


@dataclass(slots=True, kw_only=True)
class Code:
    """The code that made a record.

    Attributes:
        version: version of the package.
        commit: git commit of the checkout; None where it is none.
        dirty: whether files outside results/ were changed since; None likewise.
    """

    version: str
    commit: str | None = None
    dirty: bool | None = None


def code_state() -> Code:
    """Version, and commit and dirty flag where the project is a git checkout."""
    return Code(version=zoo_version(), commit=_git("rev-parse", "HEAD"), dirty=_dirty())


def changed_files(code: Code, files: Iterable[Path]) -> list[str]:
    """Which files of the checkout mean something else than in the commit of some code, by their paths in it; sorted.

    Empty where git cannot tell: no checkout, another history, or code that was not committed.

    Args:
        code: the code of a record.
        files: those that it may be.
    """
    if code.commit is None or code.dirty is not False:
        return []
    listed = _git("diff", "--name-only", "--no-renames", code.commit, "--", PACKAGE.name)
    names = {path.relative_to(PROJECT).as_posix(): path for path in files if path.is_relative_to(PROJECT)}
    return [name for name in sorted((listed or "").splitlines()) if name in names and _differs(code, name, names[name])]


def _differs(code: Code, name: str, path: Path) -> bool:
    before = _git("show", f"{code.commit}:{name}")
    return before is None or syntax_of(before).sha256 != syntax(path).sha256


def now() -> str:
    """The present time, UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def bare_names(node: Any) -> Any:
    """A copy of a composed configuration whose `_target_` values are bare names, without the module.

    "zoo.models.losses.regression.GIoULoss" becomes "GIoULoss": a class may move to another module, and what was
    recorded with it still compares equal.

    Args:
        node: nested mappings and lists of plain values.
    """
    if isinstance(node, Mapping):
        return {
            key: value.rpartition(".")[2] if key == "_target_" and isinstance(value, str) else bare_names(value)
            for key, value in node.items()
        }
    return [bare_names(value) for value in node] if isinstance(node, list) else node


def _dirty() -> bool | None:
    status = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)results")
    return None if status is None else bool(status)


def _git(*arguments: str) -> str | None:
    if not (PROJECT / ".git").exists():
        return None
    command = ["git", "-C", str(PROJECT), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # a machine without git
        return None
    return done.stdout.strip() if done.returncode == 0 else None
