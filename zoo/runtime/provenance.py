"""Which code a record was made by."""

from __future__ import annotations

import subprocess
import tomllib
from typing import Any

from zoo.files import PROJECT

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


def code_state() -> dict[str, Any]:
    """Version, and commit and dirty flag where the project is a git checkout."""
    return {"version": zoo_version(), "commit": _git("rev-parse", "HEAD"), "dirty": _dirty()}


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
