"""Key maps: one module per zoo, each a pure table `KEY_MAP`."""

from __future__ import annotations

import importlib
import pkgutil

from zoo.checkpoints.convert import KeyMap
from zoo.errors import UsageError, closest


def key_map(name: str) -> KeyMap:
    """The table of a zoo.

    Raises:
        UsageError: no table of that name.
    """
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    if name not in names:
        raise UsageError(f"no key map {name!r} ({closest(name, names)})", next_step="correct the entry")
    table: KeyMap = importlib.import_module(f"{__name__}.{name}").KEY_MAP
    return table
