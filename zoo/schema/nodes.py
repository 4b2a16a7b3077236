"""One node for each kind of type that an annotation may be: it checks a value, and says what it takes."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union

from zoo.errors import closest
from zoo.schema.constraints import Constraint, OneOf
from zoo.schema.dataclass_fields import REQUIRED, default_of, descriptions_of, hints_of

Definitions = dict[str, dict[str, Any]]
"""Dataclass name -> its JSON Schema."""

LONGEST_SHOWN = 200
"""Characters of a value in a message."""

_QUOTES = "\"'"


class MisfitError(Exception):
    """A value that does not fit its place; `zoo.schema.build` turns it into a UsageError.

    Args:
        where: dotted name of the place.
        problem: what is wrong with it.
    """

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(where, problem)
        self.where = where
        self.problem = problem


class Node(ABC):
    """One type of an annotation.

    Attributes:
        expectation: what a value of it is, as a phrase: "a whole number".
        nullable: whether it takes None.
    """

    expectation: str
    nullable = False

    @abstractmethod
    def build(self, value: Any, where: str) -> Any:
        """The value as the dataclass holds it. Raises MisfitError."""

    @abstractmethod
    def schema(self, definitions: Definitions) -> dict[str, Any]:
        """JSON Schema; dataclasses are added to `definitions` and referred to."""

    def objects(self) -> Iterator[type]:
        """The dataclasses that a value of this type may be or hold."""
        return iter(())

    def misfit(self, value: Any, where: str, hint: str = "") -> MisfitError:
        """The error for a value that is something else."""
        return MisfitError(where, f"{shown(value)} is not {self.expectation}{hint}")


class AnyNode(Node):
    """Any, or object: not looked at."""

    expectation = "anything"
    nullable = True

    def build(self, value: Any, where: str) -> Any:  # noqa: ARG002 - nothing is refused
        return value

    def schema(self, definitions: Definitions) -> dict[str, Any]:  # noqa: ARG002 - of nodes that hold dataclasses
        return {}


SCALARS: dict[type, tuple[str, tuple[type, ...], str]] = {
    str: ("a string", (str,), "string"),
    int: ("a whole number", (int,), "integer"),
    float: ("a number", (int, float), "number"),
    bool: ("true or false", (bool,), "boolean"),
    Path: ("a path", (str, Path), "string"),
    types.NoneType: ("null", (types.NoneType,), "null"),
}
"""Type -> what it is called, the types that YAML and JSON read it as, and its name in JSON Schema."""


class ScalarNode(Node):
    """A type that holds no other."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self.expectation, self.read_as, self.json_type = SCALARS[kind]
        self.nullable = kind is types.NoneType

    def build(self, value: Any, where: str) -> Any:
        # A bool is an int to Python, and to nobody else.
        fits = isinstance(value, self.read_as) and (self.kind is bool or not isinstance(value, bool))
        if not fits:
            # YAML reads unquoted digits as a number, and drops leading zeros and last decimals.
            unquoted = str in self.read_as and isinstance(value, bool | int | float)
            raise self.misfit(value, where, " (quote it)" if unquoted else "")
        if self.kind is Path:
            try:
                return Path(value).expanduser()
            except RuntimeError:
                raise self.misfit(value, where, " (no such user)") from None
        if self.kind is float:
            try:
                return float(value)
            except OverflowError:
                raise self.misfit(value, where, " that a float can hold") from None
        return value

    def schema(self, definitions: Definitions) -> dict[str, Any]:  # noqa: ARG002 - of nodes that hold dataclasses
        return {"type": self.json_type}


class ChoiceNode(Node):
    """A Literal."""

    def __init__(self, choices: tuple[Any, ...]) -> None:
        self.choices = choices
        self.expectation = " | ".join(map(str, choices))

    def build(self, value: Any, where: str) -> Any:
        if not any(value == choice and type(value) is type(choice) for choice in self.choices):
            text = shown(value)
            raise MisfitError(where, f"no {text} ({closest(text.strip(_QUOTES), map(str, self.choices))})")
        return value

    def schema(self, definitions: Definitions) -> dict[str, Any]:  # noqa: ARG002 - of nodes that hold dataclasses
        return {"enum": list(self.choices)}


class ConstrainedNode(Node):
    """An Annotated type: one of the others, of which not every value will do."""

    def __init__(self, node: Node, constraints: tuple[Constraint, ...]) -> None:
        self.node = node
        self.constraints = constraints
        self.expectation = node.expectation
        for constraint in constraints:
            self.expectation = constraint.expectation(self.expectation)

    def build(self, value: Any, where: str) -> Any:
        built = self.node.build(value, where)
        for constraint in self.constraints:
            if not constraint.accepts(built):
                if isinstance(constraint, OneOf):
                    raise MisfitError(where, f"no {shown(value)} ({closest(value[:LONGEST_SHOWN], constraint.names)})")
                raise self.misfit(value, where)
        return built

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        merged = self.node.schema(definitions)
        for constraint in self.constraints:
            merged |= constraint.schema()
        return merged


class ListNode(Node):
    """A tuple or a list.

    Args:
        items: the type of every item, or, where `fixed`, of each place.
        container: tuple or list.
        fixed: whether the number of items is that of `items`.
    """

    def __init__(self, items: tuple[Node, ...], container: type, *, fixed: bool) -> None:
        self.items = items
        self.container = container
        self.fixed = fixed
        self.expectation = f"a list of {len(items)}" if fixed else "a list"

    def build(self, value: Any, where: str) -> Any:
        if not isinstance(value, list | tuple) or (self.fixed and len(value) != len(self.items)):
            raise self.misfit(value, where)
        nodes = self.items if self.fixed else self.items * len(value)
        pairs = zip(nodes, value, strict=True)
        return self.container(node.build(item, f"{where}[{i}]") for i, (node, item) in enumerate(pairs))

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        schemas = [item.schema(definitions) for item in self.items]
        if not self.fixed:
            return {"type": "array", "items": schemas[0]}
        return {"type": "array", "prefixItems": schemas, "minItems": len(schemas), "maxItems": len(schemas)}

    def objects(self) -> Iterator[type]:
        return (kind for item in self.items for kind in item.objects())


class MappingNode(Node):
    """A mapping from names to values of one type."""

    expectation = "a mapping"

    def __init__(self, item: Node) -> None:
        self.item = item

    def build(self, value: Any, where: str) -> Any:
        if not isinstance(value, Mapping):
            raise self.misfit(value, where)
        for key in value:
            if not isinstance(key, str):
                raise MisfitError(where, f"the key {shown(key)} is not a string (quote it)")
        return {key: self.item.build(item, dotted(where, key)) for key, item in value.items()}

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": self.item.schema(definitions)}

    def objects(self) -> Iterator[type]:
        return self.item.objects()


class ObjectNode(Node):
    """A dataclass."""

    expectation = "a mapping"

    def __init__(self, kind: type) -> None:
        self.kind = kind

    def nodes(self) -> dict[str, Node]:
        """Field name -> its type; looked up late, so that a dataclass may contain itself."""
        return {field.name: node_of(hints_of(self.kind)[field.name]) for field in dataclasses.fields(self.kind)}

    def required(self) -> list[str]:
        """The fields without a default."""
        return [field.name for field in dataclasses.fields(self.kind) if default_of(field) is REQUIRED]

    def build(self, value: Any, where: str) -> Any:
        if not isinstance(value, Mapping):
            raise self.misfit(value, where)
        nodes = self.nodes()
        for key in value:
            if key not in nodes:
                raise MisfitError(where, f"unknown key {shown(key)} ({closest(shown(key).strip(_QUOTES), nodes)})")
        # `key:` with nothing behind it is null in YAML
        missing = [name for name in self.required() if value.get(name) is None and not nodes[name].nullable]
        missing += [name for name in self.required() if name not in value and nodes[name].nullable]
        if missing:
            raise MisfitError(where, f"missing {', '.join(missing)}")
        built = {key: nodes[key].build(item, dotted(where, key)) for key, item in value.items()}
        try:
            return self.kind(**built)
        except ValueError as error:
            raise MisfitError(where, str(error)) from None

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        name = self.kind.__name__
        if name not in definitions:
            definitions[name] = {}  # holds the place, should the dataclass contain itself
            descriptions, nodes = descriptions_of(self.kind), self.nodes()
            properties = {}
            for field in dataclasses.fields(self.kind):
                notes = {"description": descriptions.get(field.name, ""), "default": plain(default_of(field))}
                notes = {key: note for key, note in notes.items() if note is not REQUIRED and note != ""}
                properties[field.name] = nodes[field.name].schema(definitions) | notes
            definitions[name] = {
                "type": "object",
                "description": inspect.cleandoc(self.kind.__doc__ or "").split("\n\n", 1)[0],
                "properties": properties,
                "required": self.required(),
                "additionalProperties": False,
            }
        return {"$ref": f"#/$defs/{name}"}

    def objects(self) -> Iterator[type]:
        yield self.kind


class UnionNode(Node):
    """Several types: the first that takes a value has it."""

    def __init__(self, members: tuple[Node, ...]) -> None:
        self.members = members
        expectations = dict.fromkeys(member.expectation for member in members)  # several dataclasses: one mapping
        self.expectation = (", or " if any("," in phrase for phrase in expectations) else " or ").join(expectations)
        self.nullable = any(member.nullable for member in members)

    def build(self, value: Any, where: str) -> Any:
        candidates = self._candidates(value, where)
        if len(candidates) == 1:
            return candidates[0].build(value, where)
        inner = None
        for member in candidates:
            try:
                return member.build(value, where)
            except MisfitError as error:
                if error.where != where:  # the type was right, something inside it was not
                    inner = inner or error
        raise inner or self.misfit(value, where)

    def _candidates(self, value: Any, where: str) -> list[Node]:
        """The members that a value may have been meant for: not null, unless it is null."""
        objects = [member for member in self.members if isinstance(member, ObjectNode)]
        if isinstance(value, Mapping) and len(objects) > 1:
            return [*_tagged(objects, value, where)]
        return [member for member in self.members if value is None or not member.nullable]

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        return {"anyOf": [member.schema(definitions) for member in self.members]}

    def objects(self) -> Iterator[type]:
        return (kind for member in self.members for kind in member.objects())


def _tagged(objects: list[ObjectNode], block: Mapping[str, Any], where: str) -> list[ObjectNode]:
    """The dataclasses that a block may be, by the first key that is a Literal in each of them."""
    for key in objects[0].nodes():
        tags = [tag for node in objects if isinstance(tag := node.nodes().get(key), ChoiceNode)]
        if len(tags) == len(objects):
            if key not in block:
                raise MisfitError(where, f"missing {key}")
            ChoiceNode(tuple(choice for tag in tags for choice in tag.choices)).build(block[key], dotted(where, key))
            return [node for node, tag in zip(objects, tags, strict=True) if block[key] in tag.choices]
    return objects


@cache
def node_of(hint: Any) -> Node:
    """The node of an annotation. Raises TypeError for one that no schema can have."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        constraints = tuple(extra for extra in hint.__metadata__ if isinstance(extra, Constraint))
        return ConstrainedNode(node_of(arguments[0]), constraints)
    if origin in (Union, types.UnionType):
        return UnionNode(tuple(map(node_of, arguments)))
    if origin in (tuple, list):
        fixed = origin is tuple and arguments[-1] is not Ellipsis
        items = arguments if fixed else arguments[:1]
        return ListNode(tuple(map(node_of, items)), origin, fixed=fixed)
    if origin in (dict, Mapping) and arguments[0] is str:
        return MappingNode(node_of(arguments[1]))
    if origin is Literal:
        return ChoiceNode(arguments)
    if hint in (Any, object):
        return AnyNode()
    if hint in SCALARS:
        return ScalarNode(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return ObjectNode(hint)
    raise TypeError(f"no schema can have {hint!r}")


def shown(value: Any) -> str:
    """A value as a message shows it, whatever its size."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python writes no whole number of thousands of digits
        text = f"a {type(value).__name__} that is too large to show"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def dotted(where: str, key: str) -> str:
    """The name of a key inside a block."""
    return f"{where}.{key}" if where else key


def plain(value: Any) -> Any:
    """The inverse of `zoo.schema.build`: dataclasses as dicts, tuples as lists, paths as strings; for JSON or YAML."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
