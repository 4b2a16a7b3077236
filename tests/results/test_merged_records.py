"""One record of several runs: which numbers go together, and which of two stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_up import MACHINE, cell, file_all, files, make_entry, make_record

from zoo.results.ledger import Ledger, merge
from zoo.results.record import Record
from zoo.results.verdict import judge
from zoo.runtime.provenance import Code

ENTRY_A = make_entry(cell("37.4"), cell("21.4", metric="fps", hardware="V100"))
SPEED = {"fps": 60.0, "latency_ms": {"p50": 16.0}, "timed": {"rounds": 3, "images": 64}}


def accuracy(**more: Any) -> Record:
    code = Code(version="1", commit="aaa", dirty=False)
    return make_record(**{"code": code, "finished": "2026-01-01T10:00:00+00:00", **more})


def speed(images: int = 64, **more: Any) -> Record:
    code = Code(version="1", commit="bbb", dirty=True)
    measured = {**SPEED, "timed": {"rounds": 3, "images": images}}
    return make_record(**{"measured": measured, "code": code, "finished": "2026-02-02T10:00:00+00:00", **more})


@pytest.mark.parametrize("accuracy_first", [True, False])
def test_measurements_of_one_identity_become_one_record(tmp_path: Path, accuracy_first: bool) -> None:
    runs = [accuracy(), speed()] if accuracy_first else [speed(), accuracy()]
    merged = file_all(tmp_path, *runs)
    assert files(tmp_path) == [f"records/{MACHINE}/mmdet_a.json"]
    assert Ledger(tmp_path).records() == [merged]
    assert merged.measured == {"box_AP": 37.41, **SPEED}
    assert merged.parts == {**accuracy().parts, **speed().parts}, "each with its own code, time and version"
    assert {name: part.code.commit for name, part in merged.parts.items()} == {"accuracy": "aaa", "speed": "bbb"}
    assert merged.times == runs[1].times
    assert {metric: item.verdict for metric, item in judge(merged, ENTRY_A).items()} == {
        "box_AP": "EXACT",
        "fps": "NOT-COMPARED",
    }


def test_the_same_measurement_again_is_the_newer_one(tmp_path: Path) -> None:
    again = accuracy(measured={"box_AP": 37.42}, finished="2026-03-03T10:00:00+00:00")
    assert file_all(tmp_path, accuracy(measured={"box_AP": 37.41, "mask_AP": 30.0}), again).measured == again.measured


@pytest.mark.parametrize("conditions", [(), ("precision=bf16",)])
def test_a_poorer_speed_does_not_replace_a_richer_one(tmp_path: Path, conditions: tuple[str, ...]) -> None:
    rich, poor = speed(64, conditions=conditions), speed(8, conditions=conditions)
    file_all(tmp_path, rich)
    filed = Ledger(tmp_path).file(poor)
    assert filed.record.measured == rich.measured
    assert filed.record.parts == rich.parts
    assert filed.notes == ("speed kept: the record before has it of 64 images, this run of 8",)


@pytest.mark.parametrize("images", [64, 65])
def test_a_richer_or_equal_speed_replaces_the_poorer(tmp_path: Path, images: int) -> None:
    newer = speed(images)
    newer.measured["fps"] = 61.0
    file_all(tmp_path, speed(64))
    filed = Ledger(tmp_path).file(newer)
    assert filed.record.measured == newer.measured
    assert filed.notes == ()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"weights": "1" * 64}, "its checkpoint was another file"),
        ({"annotations": "b" * 64}, "its data was other data"),
        ({"row": "b" * 64}, "the row was composed otherwise"),
    ],
)
@pytest.mark.parametrize("new_is_speed", [True, False])
def test_numbers_of_two_subjects_are_never_put_together(
    tmp_path: Path, changes: dict[str, Any], reason: str, new_is_speed: bool
) -> None:
    old, new = (accuracy(), speed(**changes)) if new_is_speed else (speed(), accuracy(**changes))
    file_all(tmp_path, old)
    filed = Ledger(tmp_path).file(new)
    assert filed.record == new
    assert filed.notes == (f"{next(iter(old.parts))} of the record before replaced: {reason}",)
    assert Ledger(tmp_path).records() == [new]


def test_numbers_of_other_images_are_never_put_together(tmp_path: Path) -> None:
    old, new = accuracy(files="a" * 64), speed(files="b" * 64)
    file_all(tmp_path, old)
    filed = Ledger(tmp_path).file(new)
    assert filed.record == new
    assert filed.notes == ("accuracy of the record before replaced: its images were other images",)


def test_a_record_of_before_images_were_hashed_is_added_to(tmp_path: Path) -> None:
    file_all(tmp_path, accuracy())
    assert set(Ledger(tmp_path).file(speed(files="b" * 64)).record.parts) == {"accuracy", "speed"}


def test_a_new_version_replaces_its_own_part_alone(tmp_path: Path) -> None:
    old = accuracy(measured={"box_AP": 37.41, **SPEED}, versions={"speed": 1})
    new = speed(8, versions={"speed": 2})
    file_all(tmp_path, old)
    filed = Ledger(tmp_path).file(new)
    assert filed.notes == ("speed of version 1 replaced by version 2",), "fewer images, but they mean something else"
    assert filed.record.parts == {"accuracy": old.parts["accuracy"], "speed": new.parts["speed"]}
    assert filed.record.measured == {"box_AP": 37.41, **new.measured}


def test_a_new_version_of_accuracy_replaces_it(tmp_path: Path) -> None:
    new = accuracy(version=2, measured={"box_AP": 37.5})
    file_all(tmp_path, accuracy())
    filed = Ledger(tmp_path).file(new)
    assert filed.record == new
    assert filed.notes == ("accuracy of version 1 replaced by version 2",)


def test_the_batches_of_an_accuracy_stay_with_it() -> None:
    old, new = accuracy(), speed()
    old.protocol.batches, new.protocol.batches = {"number": 9}, {"number": 1}
    assert merge(old, new)[0].protocol.batches == {"number": 9}
    assert merge(new, old)[0].protocol.batches == {"number": 9}


def test_attempts_of_one_identity_are_put_together_too(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"changes": ("neck=pafpn",), "row": "b" * 64}
    merged = file_all(tmp_path, accuracy(**changes), speed(**changes))
    assert list(merged.parts) == ["speed", "accuracy"]
    assert merged.measured == {"box_AP": 37.41, **SPEED}


def test_what_a_broken_run_measured_is_not_kept() -> None:
    broken = make_record(status="failed", reason="out of memory", measured={"box_AP": 37.41})
    speed = make_record(measured=SPEED)
    assert merge(broken, speed) == (speed, ())
