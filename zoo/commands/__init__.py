"""The commands of `zoo`: one module a theme, found here by what its `COMMANDS` says.

A new command is a `Command` in the `COMMANDS` of a module of this package, and nothing else. All of these
modules are imported by every command: what takes long to import (torch, numpy, pandas, hydra) they import
inside the functions that need it.
"""

from __future__ import annotations

import importlib
import pkgutil

from zoo.commands.command import THEMES, Command


def commands() -> list[Command]:
    """Every command, in the order of the help: by theme, then as its module lists them."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    found: list[Command] = [command for module in modules for command in getattr(module, "COMMANDS", ())]
    return sorted(found, key=lambda command: list(THEMES).index(command.theme))
