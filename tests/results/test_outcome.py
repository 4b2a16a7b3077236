"""How a run ends: every way becomes the status of its record, with a reason and a next step."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from made_up import make_record

from zoo.errors import BlockedError, DataError, ZooError
from zoo.measure.measurement import Measurement, Subject, measurement, measurements
from zoo.results.origin import code_of
from zoo.results.outcome import add_part, outcome, possible, skipping, stage
from zoo.results.record import Record
from zoo.runtime.turns import Turns


class OutOfMemoryError(RuntimeError):
    """Called as PyTorch's own is."""


def fresh() -> Record:
    return make_record(status="failed", finished=None)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ZooError("it broke", next_step="mend it"), ("failed", "it broke", "mend it")),
        (DataError("no such folder", next_step="check data.root"), ("blocked", "no such folder", "check data.root")),
        (
            OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
            ("failed", "CUDA out of memory", "use a smaller batch_size, or device=cpu"),
        ),
    ],
)
def test_an_error_becomes_the_end_of_a_run(tmp_path: Path, error: Exception, expected: tuple[str, str, str]) -> None:
    record = fresh()
    with outcome(record, tmp_path):
        raise error
    assert (record.status, record.reason, record.next_step) == expected
    assert record.times.finished is not None
    assert record.times.seconds is not None
    assert not list(tmp_path.iterdir())


def test_a_run_that_ends_well(tmp_path: Path) -> None:
    record = fresh()
    with outcome(record, tmp_path):
        pass
    assert (record.status, record.reason) == ("measured", None)


def test_an_unexpected_error_leaves_its_traceback(tmp_path: Path) -> None:
    record = fresh()
    with outcome(record, tmp_path / "run"):
        raise ZeroDivisionError("of all things")
    assert (record.status, record.reason) == ("failed", "unexpected ZeroDivisionError: of all things")
    report = tmp_path / "run" / "traceback.txt"
    assert record.next_step == f"report this with {report}"
    assert "ZeroDivisionError: of all things" in report.read_text(encoding="utf-8")


def test_an_interrupt_goes_on_after_the_record_says_so(tmp_path: Path) -> None:
    record = fresh()
    with pytest.raises(KeyboardInterrupt), outcome(record, tmp_path):
        raise KeyboardInterrupt
    assert (record.status, record.reason) == ("failed", "interrupted")


def test_a_stage_is_timed_whatever_happens() -> None:
    record = fresh()
    with pytest.raises(ZeroDivisionError), stage(record, "accuracy"):
        raise ZeroDivisionError
    assert record.times.stages["accuracy"] >= 0


# --- several measurements -------------------------------------------------------------------------

SUBJECT = cast(Subject, SimpleNamespace())


def make_measurement(name: str, order: int, refusal: str | None = None) -> Measurement:
    return Measurement(
        name=name, about="", order=order, version=7, run=lambda _: {}, refuses=lambda _: refusal, count="timed.images"
    )


def test_what_can_be_made_is_made_in_order() -> None:
    record = make_record(measured={})
    asked = [make_measurement("c", 3), make_measurement("a", 1), make_measurement("b", 2, "needs a GPU")]
    assert [item.name for item in possible(asked, SUBJECT, record)] == ["a", "c"]
    assert record.skipped == {"b": "b needs a GPU"}


def test_where_runs_take_turns_it_is_these_that_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [make_measurement("c", 3), make_measurement("a", 1), replace(make_measurement("b", 2), in_turns=True)]
    assert [item.name for item in possible(asked, SUBJECT, make_record())] == ["a", "b", "c"]
    monkeypatch.setattr("zoo.results.outcome.turns", lambda: Turns(1))
    assert [item.name for item in possible(asked, SUBJECT, make_record())] == ["b", "a", "c"]
    assert [name for name, made in measurements().items() if made.in_turns] == ["speed"]


def test_where_runs_take_turns_too_little_memory_is_for_the_sweep_to_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.results.outcome.turns", lambda: Turns(1))
    record = make_record()
    with pytest.raises(OutOfMemoryError), skipping(record, "accuracy"):
        raise OutOfMemoryError("CUDA out of memory")
    assert record.skipped == {}, "the models of others may be what takes the memory"


def test_where_nothing_can_be_made_the_run_is_blocked() -> None:
    record = make_record(measured={})
    with pytest.raises(BlockedError, match="b needs a GPU") as caught:
        possible([make_measurement("b", 1, "needs a GPU")], SUBJECT, record)
    assert caught.value.next_step.startswith("leave b out of measure")
    assert record.skipped == {}


def test_too_little_memory_costs_one_measurement(caplog: pytest.LogCaptureFixture) -> None:
    record = make_record()
    with skipping(record, "speed"):
        raise OutOfMemoryError("CUDA out of memory")
    assert record.skipped == {"speed": "the device has too little memory for it"}
    assert "warning: speed is not measured: the device has too little memory for it" in caplog.text
    with pytest.raises(RuntimeError, match="another"), skipping(record, "speed"):
        raise RuntimeError("another")
    nothing = make_record(measured={})
    with pytest.raises(OutOfMemoryError), skipping(nothing, "speed"):
        raise OutOfMemoryError("CUDA out of memory")


def test_a_part_says_where_its_numbers_come_from() -> None:
    record = make_record(measured={}, version=3)
    record.times.stages["speed"] = 1.5
    values: dict[str, Any] = {"fps": 60.0, "timed": {"rounds": 3, "images": 64}}
    add_part(record, make_measurement("speed", 1), values)
    add_part(record, measurement("accuracy"), {"box_AP": 37.4})
    assert record.measured == {**values, "box_AP": 37.4}
    speed, accuracy = record.parts["speed"], record.parts["accuracy"]
    assert (speed.version, speed.seconds, speed.values, speed.images) == (7, 1.5, ["fps", "timed"], 64)
    assert (accuracy.version, accuracy.values, accuracy.images) == (3, ["box_AP"], None), "that of the protocol"
    assert speed.code == record.code
    assert speed.finished
    assert speed.code_hash == code_of("speed", {})
    assert speed.code_hash != accuracy.code_hash
    assert speed.environment["torch"] == version("torch")
