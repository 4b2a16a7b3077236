"""Blocks of YAML and JSON made into dataclasses: what is taken, what is refused, and in which words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from zoo.errors import UsageError
from zoo.schema import REQUIRED, Minimum, OneOf, Pattern, build, fields_of, json_schema, plain

COLOURS = {"red": 1, "green": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """A straight line.

    Attributes:
        kind: "linear".
        ratio: share of the full rate
            at the beginning.
    """

    kind: Literal["linear"]
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Two lines.

    Attributes:
        kind: "groups".
        epochs: number of epochs.
    """

    kind: Literal["groups"]
    epochs: Annotated[int, Minimum(1)] = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How something is trained.

    More of it.

    Attributes:
        name: what it is called.
        rate: the full learning rate.
        steps: epochs of the steps.
        betas: two of them.
        warmup: how it begins.
        batch_size: images a step, or "auto".
        precision: of products.
        colour: a name known at run time.
        digits: hex digits.
        folder: where it goes.
        views: options of the views.
        parts: those that it consists of.
        flag: whether it is on.
        anything: not looked at.

    Raises:
        ValueError: the name is "bad".
    """

    name: str
    rate: float
    steps: tuple[int, ...] = ()
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: Linear | Groups | None = None
    batch_size: Annotated[int, Minimum(1)] | Literal["auto"] = "auto"
    precision: Literal["fp32", "fp16"] = "fp32"
    colour: Annotated[str, OneOf(COLOURS)] = "red"
    digits: Annotated[str, Pattern("[0-9a-f]{6,8}", "6 to 8 hex digits")] | None = None
    folder: Path | None = None
    views: Mapping[str, float] = field(default_factory=dict)
    parts: tuple[Linear, ...] = ()
    flag: bool = False
    anything: Any = None

    def __post_init__(self) -> None:
        if self.name == "bad":
            raise ValueError("no recipe is called 'bad'")


def recipe(**block: Any) -> Recipe:
    return build(Recipe, {"name": "1x", "rate": 1, **block}, "schedule", "correct the file")


def test_a_block_becomes_a_dataclass() -> None:
    built = recipe(
        steps=[8, 11],
        betas=[0, 1],
        warmup={"kind": "groups"},
        batch_size=16,
        folder="~/x",
        views={"a": 1},
        parts=[{"kind": "linear", "ratio": 0.5}],
        anything=[{}],
    )
    assert built == Recipe(
        name="1x",
        rate=1.0,
        steps=(8, 11),
        betas=(0.0, 1.0),
        warmup=Groups(kind="groups", epochs=3),
        batch_size=16,
        folder=Path.home() / "x",
        views={"a": 1.0},
        parts=(Linear(kind="linear", ratio=0.5),),
        anything=[{}],
    )
    assert isinstance(built.rate, float)
    assert recipe(warmup={"kind": "linear", "ratio": 0.1}).warmup == Linear(kind="linear", ratio=0.1)
    assert recipe(warmup=None, digits=None).warmup is None
    assert recipe(batch_size=1).batch_size == 1, "a minimum is included"
    assert recipe(digits="047c81").digits == "047c81"


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"presicion": "fp32"}, "schedule: unknown key 'presicion' (closest: precision)"),
        ({"name": None}, "schedule: missing name"),
        ({"name": None, "rate": None}, "schedule: missing name, rate"),
        ({"name": 12}, "schedule.name: 12 is not a string (quote it)"),
        ({"name": True}, "schedule.name: True is not a string (quote it)"),
        ({"name": ["1x"]}, "schedule.name: ['1x'] is not a string"),
        ({"name": "bad"}, "schedule: no recipe is called 'bad'"),
        ({"rate": "fast"}, "schedule.rate: 'fast' is not a number"),
        ({"rate": True}, "schedule.rate: True is not a number"),
        ({"steps": "8"}, "schedule.steps: '8' is not a list"),
        ({"steps": None}, "schedule.steps: None is not a list"),
        ({"steps": [8, 1.5]}, "schedule.steps[1]: 1.5 is not a whole number"),
        ({"steps": [True]}, "schedule.steps[0]: True is not a whole number"),
        ({"betas": [0.9]}, "schedule.betas: [0.9] is not a list of 2"),
        ({"betas": [0.9, "x"]}, "schedule.betas[1]: 'x' is not a number"),
        ({"warmup": {"kind": "liner"}}, "schedule.warmup.kind: no 'liner' (closest: linear)"),
        ({"warmup": {"epochs": 3}}, "schedule.warmup: missing kind"),
        ({"warmup": {"kind": "groups", "ratio": 1}}, "schedule.warmup: unknown key 'ratio' (known: epochs, kind)"),
        ({"warmup": {"kind": "linear"}}, "schedule.warmup: missing ratio"),
        ({"warmup": {"kind": "groups", "epochs": 0}}, "schedule.warmup.epochs: 0 is not a whole number, 1 or more"),
        ({"warmup": 3}, "schedule.warmup: 3 is not a mapping or null"),
        ({"batch_size": 0}, "schedule.batch_size: 0 is not a whole number, 1 or more, or auto"),
        ({"batch_size": "atuo"}, "schedule.batch_size: 'atuo' is not a whole number, 1 or more, or auto"),
        ({"precision": "fp61"}, "schedule.precision: no 'fp61' (closest: fp16, fp32)"),
        ({"colour": "gren"}, "schedule.colour: no 'gren' (closest: green, red)"),
        ({"digits": 12345678}, "schedule.digits: 12345678 is not a string (quote it)"),
        ({"digits": "047C81"}, "schedule.digits: '047C81' is not 6 to 8 hex digits"),
        ({"digits": "047c8"}, "schedule.digits: '047c8' is not 6 to 8 hex digits"),
        ({"digits": "047c81180"}, "schedule.digits: '047c81180' is not 6 to 8 hex digits"),
        ({"folder": 3}, "schedule.folder: 3 is not a path (quote it)"),
        ({"views": [1]}, "schedule.views: [1] is not a mapping"),
        ({"views": {"a": "b"}}, "schedule.views.a: 'b' is not a number"),
        ({"views": {1: 2}}, "schedule.views: the key 1 is not a string (quote it)"),
        ({"parts": {"kind": "linear"}}, "schedule.parts: {'kind': 'linear'} is not a list"),
        ({"parts": [{"kind": "linear", "ratio": None}]}, "schedule.parts[0]: missing ratio"),
        ({"flag": 1}, "schedule.flag: 1 is not true or false"),
    ],
)
def test_what_does_not_fit_is_named(block: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        recipe(**block)
    assert caught.value.message == message
    assert caught.value.next_step == "correct the file"


def test_a_top_level_has_no_name_of_its_own() -> None:
    for block, message in (({"rate": 1}, "missing name"), ({"name": 1, "rate": 1}, "name: 1 is not"), ([], r"\[\] is")):
        with pytest.raises(UsageError, match=f"^{message}"):
            build(Recipe, block, "", "correct the file")


def test_the_inverse() -> None:
    block = {"name": "1x", "rate": 0.1, "warmup": {"kind": "linear", "ratio": 0.5}, "folder": "/tmp/x", "steps": [1]}  # noqa: S108
    written = plain(build(Recipe, block, "", ""))
    assert {key: written[key] for key in block} == block
    assert build(Recipe, json.loads(json.dumps(written)), "", "") == build(Recipe, block, "", "")


def test_the_json_schema_says_the_same() -> None:
    schema = json_schema(Recipe)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$ref"] == "#/$defs/Recipe"
    top = schema["$defs"]["Recipe"]
    assert (top["type"], top["description"]) == ("object", "How something is trained.")
    assert top["required"] == ["name", "rate"]
    assert top["additionalProperties"] is False
    assert {key: value for key, value in top["properties"].items() if key in ("name", "rate", "steps", "betas")} == {
        "name": {"type": "string", "description": "what it is called."},
        "rate": {"type": "number", "description": "the full learning rate."},
        "steps": {
            "type": "array",
            "items": {"type": "integer"},
            "description": "epochs of the steps.",
            "default": [],
        },
        "betas": {
            "type": "array",
            "prefixItems": [{"type": "number"}, {"type": "number"}],
            "minItems": 2,
            "maxItems": 2,
            "description": "two of them.",
            "default": [0.9, 0.999],
        },
    }
    types = {key: {k: v for k, v in value.items() if k != "description"} for key, value in top["properties"].items()}
    assert types["warmup"] == {
        "anyOf": [{"$ref": "#/$defs/Linear"}, {"$ref": "#/$defs/Groups"}, {"type": "null"}],
        "default": None,
    }
    assert types["batch_size"] == {"anyOf": [{"type": "integer", "minimum": 1}, {"enum": ["auto"]}], "default": "auto"}
    assert types["colour"] == {"type": "string", "enum": ["red", "green"], "default": "red"}
    assert types["digits"]["anyOf"][0] == {"type": "string", "pattern": "^(?:[0-9a-f]{6,8})$"}
    assert types["views"] == {"type": "object", "additionalProperties": {"type": "number"}, "default": {}}
    assert types["anything"] == {"default": None}
    assert schema["$defs"]["Linear"]["properties"]["ratio"]["description"] == "share of the full rate at the beginning."


def test_every_field_is_listed_for_help() -> None:
    fields = {info.key: info for info in fields_of(Recipe, "schedule")}
    assert list(fields)[:3] == ["schedule.name", "schedule.rate", "schedule.steps"]
    name, batch_size = fields["schedule.name"], fields["schedule.batch_size"]
    assert (name.type, name.default, name.description) == ("a string", REQUIRED, "what it is called.")
    assert batch_size.type == "a whole number, 1 or more, or auto"
    assert (batch_size.default, batch_size.description) == ("auto", 'images a step, or "auto".')
    assert fields["schedule.warmup.epochs"].type == "a whole number, 1 or more"
    assert fields["schedule.warmup.ratio"].description == "share of the full rate at the beginning."
    assert fields["schedule.anything"].description == "not looked at.", "sections that follow are no part of it"


def test_an_annotation_that_no_block_can_hold() -> None:
    @dataclass
    class Odd:
        value: set[int]

    Odd.__annotations__["value"] = set[int]
    with pytest.raises(TypeError, match=r"no schema can have set\[int\]"):
        build(Odd, {"value": [1]}, "", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Values of any size."""

    ratio: float = 0.0
    count: Annotated[int, Minimum(0)] = 0
    kind: Literal["a"] = "a"
    where: Path = Path()


@pytest.mark.parametrize(
    "block",
    [
        *({"ratio": 10**400}, {"count": -(10**6000)}, {"count": [10**6000]}, {"kind": 10**6000}, {10**6000: 1}),
        *({"kind": "x" * 10**6}, {"x" * 10**6: 1}, {"count": ["x"] * 10**6}, {"where": "~nobody-of-this-name/a"}),
    ],
    ids=range(9),
)
def test_values_of_any_size_are_refused_in_a_few_words(block: Any) -> None:
    with pytest.raises(UsageError) as caught:
        build(Sizes, block, "", "")
    assert len(caught.value.message) < 500
