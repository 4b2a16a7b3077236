"""Classes that bear other frameworks' names while a file is written, and are gone while it is read."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

Body = tuple[tuple[type, ...], dict[str, Any]]
"""Bases and members of a class."""


@contextmanager
def stand_ins(classes: Mapping[str, Body]) -> Iterator[dict[str, Any]]:
    """Classes by their names, importable under their paths as long as the context lasts.

    Args:
        classes: path -> bases and members; functions among these are pickled by their qualified names.
    """
    before = set(sys.modules)
    made: dict[str, Any] = {}
    for path, (bases, members) in classes.items():
        package, name = path.rsplit(".", 1)
        parts = package.split(".")
        for i in range(1, len(parts) + 1):
            sys.modules.setdefault(".".join(parts[:i]), types.ModuleType(".".join(parts[:i])))
        for key, value in members.items():
            if isinstance(value, types.FunctionType):
                value.__module__, value.__qualname__ = package, f"{name}.{key}"
        made[name] = type(name, bases, {"__module__": package, **members})
        setattr(sys.modules[package], name, made[name])
    try:
        yield made
    finally:
        for name in set(sys.modules) - before:
            if any(f"{path}.".startswith(f"{name.split('.')[0]}.") for path in classes):
                del sys.modules[name]


class Runs:
    """An object whose unpickling calls something."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.call
