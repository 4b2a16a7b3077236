"""Which code a record was made by, and names that outlive a move of that code."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from zoo.files import PROJECT


def code_state() -> dict[str, Any]:
    """Version, and commit and dirty flag where the project is a git checkout."""
    return {"version": version("zoo-bench"), "commit": _git("rev-parse", "HEAD"), "dirty": _dirty()}


def bare_names(node: Any) -> Any:
    """A copy of a composed configuration whose `_target_` values are bare names, without the module.

    "zoo.models.losses.regression.GIoULoss" becomes "GIoULoss": a class may move to another module, and what was
    recorded with it still compares equal.

    Args:
        node: nested mappings and lists of plain values.
    """
    if isinstance(node, Mapping):
        return {
            key: value.rpartition(".")[2] if key == "_target_" else bare_names(value) for key, value in node.items()
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
