"""Which code a record was made by."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from importlib.metadata import version

from zoo.files import PROJECT


@dataclass(slots=True, kw_only=True)
class Code:
    """The code that made a record.

    Attributes:
        version: of the package.
        commit: git commit of the checkout; None where it is none.
        dirty: whether files outside results/ were changed since; None likewise.
    """

    version: str
    commit: str | None = None
    dirty: bool | None = None


def code_state() -> Code:
    """Version, and commit and dirty flag where the project is a git checkout."""
    return Code(version=version("zoo-bench"), commit=_git("rev-parse", "HEAD"), dirty=_dirty())


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
