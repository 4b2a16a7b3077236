"""Names of code in what is recorded."""

from __future__ import annotations

from typing import Any

from zoo.runtime.provenance import bare_names


def test_a_class_keeps_its_name_and_loses_its_module() -> None:
    loss = {"_target_": "zoo.models.losses.regression.GIoULoss", "weight": 2.0, "name": "a.b"}
    node: dict[str, Any] = {"head": {"loss": [loss, None]}, "sides": [1, 2], "_target_": "Bare"}
    bare = bare_names(node)
    assert bare == {
        "head": {"loss": [{"_target_": "GIoULoss", "weight": 2.0, "name": "a.b"}, None]},
        "sides": [1, 2],
        "_target_": "Bare",
    }
    assert loss["_target_"] == "zoo.models.losses.regression.GIoULoss", "the configuration itself stays as it is"
