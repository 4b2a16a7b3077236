"""How a sweep starts a process of this package: its modules are found where those of the sweep are."""

from __future__ import annotations

import os
import sys


def command(module: str, *arguments: str) -> tuple[str, ...]:
    """What runs a module of this package; a folder of its name where the user stands is not taken for it."""
    return (sys.executable, "-P", "-m", module, *arguments)


def environment() -> dict[str, str]:
    """The environment of this process, in which another one finds the modules that this one finds."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
