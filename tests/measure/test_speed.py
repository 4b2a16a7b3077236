"""Speed, protocol 2: percentiles and rounds, turns, repeated rounds, notes, and a whole measurement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from class_names import class_names
from conftest import ENTRY
from subjects import SMALL, make_subject

from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.measure.measurement import measurement
from zoo.measure.speed import Round, Speed, clock_of, notes, percentiles_ms, take_turns
from zoo.measure.speed_values import DiscardedRound, SpeedValues
from zoo.models.detectors.base import Detector
from zoo.run.timing import PhaseTimes
from zoo.run.warm_up import WarmUp, WarmUpRule
from zoo.runtime.monitor import Monitor, Watch
from zoo.runtime.turns import Turns
from zoo.schema import build, plain

RULE = WarmUpRule(window=20, tolerance=0.01, most=100)
POWER_CAP = {"throttle_bits": 4.0}


def a_round(*seconds: float, watch: Watch | None = None) -> Round:
    return Round(started="2026-01-01T00:00:00+00:00", seconds=seconds, watch=watch or Watch())


class MadeUpMonitor:
    """A monitor whose readings are handed to it, a list a pass."""

    def __init__(self, *passes: list[dict[str, float]]) -> None:
        self.passes = iter(passes)

    @contextmanager
    def watching(self) -> Iterator[Watch]:
        yield Watch(readings=next(self.passes), seconds=1.0, foreign_load=0.0)

    interval = 0.5
    unread: Mapping[str, str] = MappingProxyType({"power_w": "NVML: Not Supported"})


class MadeUpDetector(torch.nn.Linear):
    """Has a device, and is never run."""

    device = torch.device("cpu")


def speed_of(monitor: Any, *samples: Any) -> Speed:
    detector = cast(Detector, MadeUpDetector(1, 1))
    return Speed(detector, samples, "fp32", cast(Monitor, monitor))


def test_worked_numbers() -> None:
    sample = SimpleNamespace(device_size=None)
    speed = speed_of(MadeUpMonitor(), sample, sample)
    speed.rounds += [a_round(0.1, 0.3), a_round(0.2, 0.2), a_round(0.5, 0.5)]
    speed.phases += [PhaseTimes(pre=0.01, model=0.1, post=0.04), PhaseTimes(pre=0.03, model=0.3, post=0.02)]
    found = speed.result()
    assert found.fps == pytest.approx(5.0)  # rounds of 5, 5 and 2 images a second
    assert asdict(found.fps_rounds) == pytest.approx({"lowest": 2.0, "highest": 5.0})
    assert found.latency_ms.p50 == pytest.approx(250.0)
    assert (found.latency_ms.n, found.latency_ms.p90) == (6, None)
    assert asdict(found.phases_ms) == pytest.approx({"pre": 20.0, "model": 200.0, "post": 30.0})
    assert (found.timed.images, found.timed.rounds, found.timed.note) == (2, 3, "")
    assert [one.fps for one in found.timed.each] == pytest.approx([5.0, 5.0, 2.0])
    assert found.timed.interleaved_with == ()
    assert found.timed.monitor is not None
    assert found.timed.monitor.unread == {"power_w": "NVML: Not Supported"}


@pytest.mark.parametrize(
    ("n", "told"),
    [(1, []), (2, ["p50"]), (9, ["p50"]), (10, ["p50", "p90"]), (19, ["p50", "p90"]), (20, ["p50", "p90", "p95"]),
     (99, ["p50", "p90", "p95"]), (100, ["p50", "p90", "p95", "p99"])],
)  # fmt: skip
def test_no_percentile_is_told_that_so_few_times_cannot_carry(n: int, told: list[str]) -> None:
    found = asdict(percentiles_ms([0.1] * n))
    assert found.pop("n") == n
    assert [name for name, value in found.items() if value is not None] == told


def test_percentiles_lie_between_two_values() -> None:
    found = percentiles_ms([i / 1e3 for i in range(101)])
    assert asdict(found) == pytest.approx({"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "n": 101})


def test_resizing_is_inside_where_the_device_does_it() -> None:
    samples: list[Any] = [SimpleNamespace(device_size=size) for size in (None, (800, 1333))]
    assert clock_of(samples[:1]).outside == ("reading", "decoding", "resizing")
    assert clock_of(samples).outside == ("reading", "decoding")
    assert clock_of(samples).begins == "decoded pixels in pageable memory of the host"


def test_compared_detectors_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[str, str]] = []
    for step in ("warm_up", "take_round", "take_phases"):
        monkeypatch.setattr(Speed, step, lambda self, *_, step=step: done.append((self.precision, step)))
    speeds = [Speed(cast(Detector, None), [], name, cast(Monitor, None)) for name in "AB"]
    take_turns(speeds, RULE, 3)
    assert done == [
        *(("A", "warm_up"), ("B", "warm_up")),
        *(("A", "take_round"), ("B", "take_round")) * 3,
        *(("A", "take_phases"), ("B", "take_phases")),
    ]
    done.clear()
    monkeypatch.setattr("zoo.runtime.turns.turns", lambda: Turns(1))
    monkeypatch.setattr(Turns, "wait", lambda _, purpose: done.append(("waits", purpose)))
    take_turns(speeds[:1], RULE, 2)
    a_round = [("waits", "round"), ("A", "take_round")]
    assert done == [("A", "warm_up"), *a_round, *a_round, ("waits", "rest"), ("A", "take_phases")], (
        "with other processes"
    )


def test_a_throttled_round_is_repeated_once_and_then_flagged(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.1, 0.4, 0.2, 0.4, 0.5])
    monkeypatch.setattr(Speed, "_seconds_of", lambda *_: next(seconds))
    # fine; throttled, then fine; throttled twice
    monitor = MadeUpMonitor([{}], [POWER_CAP, {"throttle_bits": 1.0}], [{}], [POWER_CAP], [{"throttle_bits": 68.0}])
    speed, waits = speed_of(monitor, "image"), list[str]()
    for step in ("warm_up", "take_phases"):
        monkeypatch.setattr(Speed, step, lambda *_: None)
    monkeypatch.setattr("zoo.runtime.turns.turns", lambda: Turns(1))
    monkeypatch.setattr(Turns, "wait", lambda _, purpose: waits.append(purpose))
    take_turns([speed], RULE, 3)
    assert waits == ["round", "round", "round", "rest"], "a round is repeated in the same turn"
    assert [one.seconds for one in speed.rounds] == [[0.1], [0.2], [0.5]]
    assert [one.discarded and one.discarded.seconds for one in speed.rounds] == [None, [0.4], [0.4]]
    assert [one.watch.throttled_by for one in speed.rounds] == [{}, {}, {"power_cap": 1.0, "hardware_thermal": 1.0}]
    assert notes(speed.rounds, None) == ["throttled in 1 of 3 rounds (power_cap, hardware_thermal)"]
    found = speed.rounds[1].values()
    assert found.discarded == DiscardedRound(fps=2.5, throttled_by={"power_cap": 0.5}), "the idle bit is none"


def test_notes_tell_of_others_and_of_what_was_not_warm() -> None:
    shared = Watch(readings=[{"foreign_processes": 0.0}, {"foreign_processes": 2.0}], seconds=1.0, foreign_load=0.31)
    warmth = WarmUp(rule=RULE, shapes=12, images=480, unsettled=1)
    assert notes([a_round(1.0), a_round(1.0, watch=shared)], warmth) == [
        "2 other processes on the card",
        "other processes kept 31% of the CPU cores busy",
        "1 of 12 padded shapes still not settled after the warm-up",
    ]
    assert notes([a_round(1.0)], WarmUp(rule=RULE, shapes=1, images=40, unsettled=0)) == []


def test_a_whole_measurement_on_the_cpu(tiny_coco: Path, tmp_path: Path) -> None:
    quick = ("data.limit=2", "speed.warmup=1")
    subject = make_subject(ENTRY, tiny_coco, tmp_path, (*SMALL, *quick))
    seen: list[int] = []
    subject.detector.backbone.register_forward_pre_hook(lambda *_: seen.append(torch.is_inference_mode_enabled()))
    found: dict[str, Any] = measurement("speed").run(subject)
    shapes = found["timed"]["warm_up"]["shapes"]
    # both images once before, whether they are of one shape or two; three rounds; the phases
    assert seen == [True] * (2 + 3 * 2 + 2)
    rule = {"window": 1, "tolerance": None, "most": 1}
    assert found["timed"]["warm_up"] == {"rule": rule, "shapes": shapes, "images": 2, "unsettled": 0}
    assert found["timed"]["images"] == 2
    assert found["timed"]["clock"]["outside"] == ["reading", "decoding", "resizing"]
    assert found["timed"]["monitor"]["interval_s"] > 0
    rounds = found["timed"]["each"]
    assert found["timed"]["rounds"] == 3
    assert [one["throttled_by"] for one in rounds] == [{}] * 3, "a CPU says nothing of it"
    assert sorted(one["fps"] for one in rounds)[1] == found["fps"]
    assert found["latency_ms"]["n"] == 6
    assert all(value > 0 for value in found["phases_ms"].values())
    assert plain(build(SpeedValues, found, "", "")) == found, "as the schema of a record has it"


def test_several_detectors_can_share_images() -> None:
    detector = build_model(compose(ENTRY, SMALL), class_names(80)).eval()
    samples = [detector.transform(np.full((40, 60, 3), 128, dtype=np.uint8))]
    speeds = [Speed(detector, samples, "fp32", Monitor(torch.device("cpu"))) for _ in range(2)]
    take_turns(speeds, WarmUpRule(window=0, tolerance=None, most=0), 3)
    assert [len(speed.rounds) for speed in speeds] == [3, 3]
    assert [len(speed.phases) for speed in speeds] == [1, 1]
