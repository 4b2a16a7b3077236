"""What of a record still stands: every kind of content that it depends on, one at a time."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from made_up import ANNOTATIONS, ROW, WEIGHTS, make_record

from zoo.fetch.hashes import ExpectedFile
from zoo.measure.measurement import measurement
from zoo.results import staleness
from zoo.results.identity import Identity
from zoo.results.origin import code_of, environment
from zoo.results.record import Record
from zoo.results.staleness import MISSING, Present, stale, summed_up, unfinished

SPEED = measurement("speed").version

CONFIG: dict[str, Any] = {"protocol": {"name": "mmdet", "version": 1}, "neck": {"channels": 256}}
MEASURED = {"box_AP": 37.4, "fps": 60.0}
IMAGES = "c" * 64


def record(**more: Any) -> Record:
    """A record of the code and the libraries of today."""
    made = make_record(**{"measured": MEASURED, "config": CONFIG, "files": IMAGES, **more})
    for name, part in made.parts.items():
        part.code_hash, part.environment = code_of(name, CONFIG), dict(environment())
    return made


def present(**more: Any) -> Present:
    values: dict[str, Any] = {
        "identity": Identity(row=ROW),
        "config": CONFIG,
        "weights": ExpectedFile(sha256=WEIGHTS),
        "annotations": ANNOTATIONS,
        "images": IMAGES,
        "environment": environment(),
    }
    return Present(**{**values, **more})


def config(**more: Any) -> dict[str, Any]:
    return {**CONFIG, **more}


def test_what_is_as_it_was_stands() -> None:
    assert stale(record(), present(), ["accuracy", "speed"]) == {}
    unknown = present(annotations=None, images=None, weights=None, environment=None)
    assert stale(record(), unknown, ["accuracy", "speed"]) == {}, "what is not known is not compared"


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        ({"weights": ExpectedFile(sha256="1" * 64)}, "checkpoint"),
        ({"weights": ExpectedFile(sha256_prefix="1" * 8)}, "checkpoint"),
        ({"weights": ExpectedFile(sha256=WEIGHTS, size=8)}, "checkpoint"),
        ({"annotations": "b" * 64}, "annotations"),
        ({"images": "d" * 64}, "images"),
        ({"identity": Identity(row="e" * 64)}, "composition"),
        (
            {"identity": Identity(row="e" * 64), "config": config(neck={"channels": 64})},
            "composition (neck.channels)",
        ),
        (
            {"identity": Identity(row="e" * 64), "config": config(protocol={"name": "mmdet", "version": 2})},
            "protocol version 1 -> 2",
        ),
        ({"identity": Identity(row=ROW, scheme=9)}, "composition"),
    ],
)
def test_another_subject_leaves_nothing(now: dict[str, Any], reason: str) -> None:
    assert stale(record(), present(**now), ["accuracy", "speed"]) == {"accuracy": reason, "speed": reason}


def test_each_measurement_has_code_libraries_and_a_version_of_its_own() -> None:
    then = record()
    then.parts["speed"].version = 0
    assert stale(then, present(), ["accuracy", "speed"]) == {"speed": f"speed version 0 -> {SPEED}"}
    then = record()
    then.parts["accuracy"].code_hash = "0" * 64
    assert stale(then, present(), ["accuracy", "speed"]) == {"accuracy": "code of accuracy"}
    then.parts["accuracy"].code_hash = None
    assert stale(then, present(), ["accuracy", "speed"]) == {"accuracy": "code unknown"}
    then = record()
    then.parts["accuracy"].environment |= {"torch": "2.14.0", "numpy": "1.0"}
    now = environment()
    reason = f"torch 2.14.0 -> {now['torch']}, numpy 1.0 -> {now['numpy']}"
    assert stale(then, present(), ["accuracy", "speed"]) == {"accuracy": reason}
    assert stale(then, present(environment=None), ["accuracy", "speed"]) == {}, "another machine's"


def test_files_that_changed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    then = record()
    then.parts["accuracy"].code_hash = "0" * 64
    files = [f"zoo/models/{letter}.py" for letter in "abcde"]
    monkeypatch.setattr(staleness, "changed_files", lambda *_: files)
    reason = stale(then, present(), ["accuracy"])["accuracy"]
    assert reason == "code of accuracy (zoo/models/a.py, zoo/models/b.py, zoo/models/c.py and 2 more)"


def test_what_is_left_to_measure() -> None:
    asked = ["accuracy", "speed", "memory"]
    assert unfinished(None, present(), asked) == dict.fromkeys(asked, MISSING)
    assert unfinished(record(), present(), asked) == {"memory": MISSING}
    then = record(skipped={"memory": "other runs of the sweep were on the device (1)"})
    assert unfinished(then, present(), asked) == {"memory": MISSING}, "it may be alone now"
    then.parts["speed"].version = 0
    assert unfinished(then, present(), asked) == {"speed": f"speed version 0 -> {SPEED}", "memory": MISSING}
    assert unfinished(then, present(), ["accuracy"]) == {}


def test_a_training_is_done_whole_or_anew() -> None:
    begun = {"init_from": {"sha256": "2" * 64, "size": 9}, "annotations_sha256": "3" * 64}
    then = record(trained=True, training=begun)
    now = present(weights=ExpectedFile(sha256="2" * 64), training_annotations="3" * 64)
    assert unfinished(then, now, ["accuracy", "speed"]) == {}
    both = ["accuracy", "speed"]
    other = dataclasses.replace(now, weights=ExpectedFile(sha256="4" * 64))
    assert unfinished(then, other, both) == dict.fromkeys(both, "checkpoint"), "that it began with"
    other = dataclasses.replace(now, training_annotations="4" * 64)
    assert unfinished(then, other, both) == dict.fromkeys(both, "training annotations")
    then.parts["speed"].version = 0
    assert unfinished(then, now, both) == dict.fromkeys(both, f"speed version 0 -> {SPEED}")
    assert unfinished(record(trained=True, training=begun), now, [*both, "memory"]).keys() == {*both, "memory"}


def test_reasons_as_one_line() -> None:
    assert summed_up({}) == ""
    assert summed_up({"a": "x", "b": "x"}, ["a", "b"]) == "x"
    assert summed_up({"a": "x", "b": "x"}, ["a", "b", "c"]) == "a, b: x"
    assert summed_up({"a": "x", "b": "y", "c": "x"}, ["a", "b", "c"]) == "a, c: x; b: y"
