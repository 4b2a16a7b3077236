"""The tensors in what a module gives: alone, in tuples, lists and dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from torch import Tensor


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in a structure of tuples, lists and dataclasses, in order; what is none is passed over."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors_in(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from tensors_in(getattr(value, field.name))


def with_tensors(value: Any, tensors: Iterator[Tensor]) -> Any:
    """The same structure with other tensors in the order of `tensors_in`; numbers follow from shapes, and stay.

    Raises:
        TypeError: there is something else in it, in which a tensor would not be found.
    """
    if isinstance(value, Tensor):
        return next(tensors)
    if isinstance(value, tuple | list):
        return type(value)(with_tensors(item, tensors) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: with_tensors(getattr(value, field.name), tensors) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    if value is None or isinstance(value, int):
        return value
    raise TypeError(f"a dense part gives tensors, in tuples, lists and dataclasses, not a {type(value).__name__}")
