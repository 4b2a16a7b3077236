"""Speed: what is counted, and how rounds and images become one number."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from class_names import class_names
from conftest import ENTRY
from subjects import SMALL

from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.measure.speed import Speed
from zoo.run.timing import PhaseTimes, time_phases, timed_samples


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    return compose(ENTRY, SMALL)


def test_worked_numbers() -> None:
    speed = Speed()
    seconds = {0: [0.1, 0.3], 1: [0.2, 0.2], 2: [0.5, 0.5]}
    for index, times in seconds.items():
        for total in times:
            speed.update(index, PhaseTimes(pre=0.1 * total, model=0.7 * total, post=0.2 * total))
    result: dict[str, Any] = speed.result()
    assert result["fps"] == pytest.approx(5.0)  # rounds of 5, 5 and 2 images a second
    assert result["fps_rounds"] == {"lowest": pytest.approx(2.0), "highest": pytest.approx(5.0)}
    assert result["latency_ms"]["p50"] == pytest.approx(250.0)
    assert result["latency_ms"]["p95"] == pytest.approx(500.0)
    assert result["phases_ms"] == {phase: pytest.approx(share * 250) for phase, share in
                                   (("pre", 0.1), ("model", 0.7), ("post", 0.2))}  # fmt: skip
    assert result["timed"] == {"rounds": 3, "images": 2}


def test_reset_forgets() -> None:
    speed = Speed()
    speed.update(0, PhaseTimes(1.0, 1.0, 1.0))
    speed.reset()
    speed.update(0, PhaseTimes(0.1, 0.1, 0.3))
    assert speed.result()["fps"] == pytest.approx(2.0)


def test_every_image_in_every_round_after_the_warm_up(parts: dict[str, Any]) -> None:
    detector = build_model(parts, class_names(80)).eval()
    image = np.full((40, 60, 3), 128, dtype=np.uint8)
    samples = [detector.transform(image, i) for i in (1, 2)]
    seen: list[int] = []
    detector.normalizer.register_forward_pre_hook(lambda _, inputs: seen.extend(s.image_id for s in inputs[0]))
    times = list(time_phases(detector, samples, warmup=3, rounds=2, precision="fp32"))
    assert seen == [1, 2, 1, 1, 2, 1, 2]
    assert [index for index, _ in times] == [0, 0, 1, 1]
    assert all(t.pre > 0 and t.model > 0 and t.post > 0 for _, t in times)
    assert torch.is_inference_mode_enabled() is False


def test_percentiles_are_of_all_images() -> None:
    speed = Speed()
    for i in range(101):
        speed.update(i // 51, PhaseTimes(pre=0.0, model=i / 1e3, post=0.0))
    latency: Any = speed.result()["latency_ms"]
    assert latency == {"p50": pytest.approx(50.0), "p95": pytest.approx(95.0)}


def test_every_phase_lies_between_two_synchronisations(parts: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    detector = build_model(parts, class_names(80)).eval()
    sample = detector.transform(np.full((40, 60, 3), 128, dtype=np.uint8))
    seen: list[str] = []

    def noted(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def noted_work(*arguments: Any) -> Any:
            seen.append(name)
            return work(*arguments)

        return noted_work

    monkeypatch.setattr("zoo.run.timing._synchronize", noted("synchronize", lambda _: None))
    monkeypatch.setattr("zoo.run.timing.time.perf_counter", noted("clock", itertools.count().__next__))
    phases = ("prepare", "network", "postprocess")
    for phase in phases:
        monkeypatch.setattr(detector, phase, noted(phase, getattr(detector, phase)))
    (timed,) = time_phases(detector, [sample], warmup=0, rounds=1, precision="fp32")
    monkeypatch.undo()
    assert seen == [step for phase in phases for step in ("synchronize", "clock", phase, "synchronize", "clock")]
    assert timed == (0, PhaseTimes(pre=1, model=1, post=1))


@pytest.mark.parametrize(
    ("device", "images", "warmup", "expected"),
    [
        ("cpu", "auto", "auto", (5, 2)),
        ("cuda", "auto", "auto", (200, 50)),
        ("cuda", 7, 3, (7, 3)),
        ("cpu", 1000, "auto", (300, 2)),  # no more than there are
    ],
)
def test_how_many_images_are_timed(
    device: str, images: int | str, warmup: int | str, expected: tuple[int, int]
) -> None:
    class Numbers:
        def __len__(self) -> int:
            return 300

        def sample(self, index: int) -> int:
            return index

    dataset: Any = Numbers()
    samples: Any
    samples, first = timed_samples(dataset, torch.device(device), images, warmup)
    assert (samples, first) == (list(range(expected[0])), expected[1])
