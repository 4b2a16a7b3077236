"""What a pickle becomes here: plain containers, and descriptions of everything that is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class Global:
    """The name of a class or function in a pickle. Nothing of it is imported.

    Attributes:
        module: of the class or function.
        name: its qualified name there.
    """

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    @property
    def path(self) -> str:
        """Module and name as they would be written."""
        return f"{self.module}.{self.name}"


class Stub:
    """Stands for the object that a call would have made. It does nothing.

    Attributes:
        callee: what would have been called.
        args: with what.
        state: what the object would have been told of itself afterwards.
    """

    __slots__ = ("args", "callee", "state")

    def __init__(self, callee: Global | Stub, args: tuple[Any, ...]) -> None:
        self.callee = callee
        self.args = args
        self.state: Any = None

    @property
    def kind(self) -> str:
        """The path of its class; empty where that is an object itself."""
        return self.callee.path if isinstance(self.callee, Global) else ""


class Table(dict[Any, Any]):
    """Stands for a dict of a class of its own: ordered, or with default values.

    Attributes:
        state: what was set on it beside its items.
    """

    state: Any = None


class Opaque:
    """Stands for a key that is neither text nor a number: hashing and comparing such keys may never end."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class StoredValues:
    """The values that tensors share.

    Attributes:
        kind: torch's name of their type.
        key: their name in the file.
        count: how many.
        begin: the first that belongs to them, in old files that store a part of other values.
    """

    kind: str
    key: str
    count: int
    begin: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class StoredTensor:
    """A tensor whose values lie elsewhere in the file. Nothing about it has been checked."""

    values: Any
    offset: Any
    size: Any
    stride: Any


def attributes(value: Any) -> Mapping[Any, Any]:
    """What an object holds by name, as its pickle tells."""
    state = value.state if isinstance(value, Stub | Table) else None
    return state if isinstance(state, Mapping) else {}
