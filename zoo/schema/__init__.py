"""One builder for everything that is written by hand or read back: entries, recipes, settings, records.

The schema of a block is a frozen dataclass: its annotations say what each key holds, its `Attributes` section what
each key means. From that one source come the checked value (`build`), its inverse (`plain`), the JSON Schema
(`json_schema`) and the lines of a help text (`fields_of`).
What is read from JSON goes through `parse_json` first.

An annotation may be str, int, float, bool, None, Path, Any or object, a Literal, tuple[X, ...], tuple[X, Y], list[X],
Mapping[str, X], another dataclass, a union of these, or Annotated[X, ...] with `Minimum`, `Pattern` and `OneOf`.
Dataclasses of one union are told apart by a key that is a Literal in each of them, such as `kind`.

The standard library is enough here: pydantic takes longer to import than `zoo list` may take in all, and msgspec
lets unknown keys of a dataclass pass and knows no union of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from zoo.errors import UsageError
from zoo.schema.constraints import Constraint, Minimum, OneOf, Pattern
from zoo.schema.dataclass_fields import REQUIRED, default_of, descriptions_of, hints_of
from zoo.schema.json_text import parse_json
from zoo.schema.nodes import Definitions, MisfitError, dotted, node_of, plain

__all__ = [
    "REQUIRED",
    "Constraint",
    "FieldInfo",
    "Minimum",
    "OneOf",
    "Pattern",
    "build",
    "fields_of",
    "json_schema",
    "parse_json",
    "plain",
]

T = TypeVar("T")


def build(kind: type[T], block: Any, where: str, next_step: str) -> T:
    """A dataclass from a plain mapping, as YAML or JSON has read it.

    A number is no string, a string no list, a bool no number; an int is a float. Lists become tuples where the
    dataclass says so. What `kind.__post_init__` refuses with a ValueError is reported with its place.

    Args:
        kind: the dataclass.
        block: the mapping.
        where: dotted name of the block for messages, such as "entry.checkpoint"; "" for the top level.
        next_step: what the user can do about a mistake.

    Raises:
        UsageError: a key is unknown (names the closest), missing, or holds what it cannot hold.
    """
    try:
        built: T = node_of(kind).build(block, where)  # type: ignore[arg-type]  # mypy: a type[T] is not hashable
    except MisfitError as error:
        message = f"{error.where}: {error.problem}" if error.where else error.problem
        raise UsageError(message, next_step=next_step) from None
    return built


def json_schema(kind: type) -> dict[str, Any]:
    """The JSON Schema (2020-12) of what `build(kind, ...)` takes; nested dataclasses are in its `$defs`."""
    definitions: Definitions = {}
    root = node_of(kind).schema(definitions)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": definitions}


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldInfo:
    """One line of a generated help text.

    Attributes:
        key: dotted name.
        type: what it holds, as a phrase: "a whole number, 1 or more".
        default: the value of a key left out; `REQUIRED` where it must be given.
        description: its line in the `Attributes` section of its dataclass.
    """

    key: str
    type: str
    default: Any
    description: str


def fields_of(kind: type, where: str = "") -> Iterator[FieldInfo]:
    """Every field of a dataclass, those of nested dataclasses behind the field that holds them."""
    descriptions = descriptions_of(kind)
    for field in dataclasses.fields(kind):
        node = node_of(hints_of(kind)[field.name])
        key = dotted(where, field.name)
        description = descriptions.get(field.name, "")
        yield FieldInfo(key=key, type=node.expectation, default=default_of(field), description=description)
        for nested in node.objects():
            yield from fields_of(nested, key)
