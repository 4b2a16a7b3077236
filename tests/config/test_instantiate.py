"""Objects from plain configuration: what is called, what is left to be called, and what is refused."""

from __future__ import annotations

import functools

import pytest

from zoo.config.instantiate import instantiate
from zoo.models.boxes import BoxConvention
from zoo.models.coders import DeltaCoder

CONVENTION = {"_target_": "zoo.models.boxes.BoxConvention", "inclusive": True}


def test_targets_are_called_at_any_depth() -> None:
    node = {
        "coder": {"_target_": "zoo.models.coders.DeltaCoder", "convention": CONVENTION},
        "several": [CONVENTION, 3, None, "text"],
    }
    made = instantiate(node)
    assert isinstance(made["coder"], DeltaCoder)
    assert made["coder"].convention == BoxConvention(inclusive=True)
    assert made["several"] == [BoxConvention(inclusive=True), 3, None, "text"]


def test_what_is_partial_lacks_its_other_values_and_has_its_parts_made() -> None:
    made = instantiate({"_target_": "zoo.models.coders.DeltaCoder", "_partial_": True, "convention": CONVENTION})
    assert isinstance(made, functools.partial)
    assert made.func is DeltaCoder
    assert made.keywords == {"convention": BoxConvention(inclusive=True)}


def test_nothing_is_shared_with_the_configuration() -> None:
    node = {"_target_": "builtins.dict", "sizes": [1, 2], "names": {"a": 1}}
    made = instantiate(node)
    made["sizes"].append(3)
    made["names"]["b"] = 2
    assert node == {"_target_": "builtins.dict", "sizes": [1, 2], "names": {"a": 1}}


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"_target_": "zoo.models.boxes.NoSuchThing"}, "NoSuchThing"),
        ({"_target_": "os.system", "command": "true"}, "os.system"),
        ({"_target_": "builtins.eval", "_partial_": True}, "builtins.eval"),
        ({"part": CONVENTION | {"colour": "red"}}, "zoo.models.boxes.BoxConvention: .*colour"),
    ],
)
def test_errors_name_the_target(node: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        instantiate(node)
