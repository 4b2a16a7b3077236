"""The clocks of an image, and which images are timed."""

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
from zoo.models.detectors.base import Detector
from zoo.run.timing import PhaseTimes, by_padded_shape, mark, seconds_between, time_image, time_phases, timed_samples


@pytest.fixture(scope="module")
def detector() -> Detector:
    return build_model(compose(ENTRY, SMALL), class_names(80)).eval()


def test_samples_are_grouped_by_the_shape_that_the_network_gets(detector: Detector) -> None:
    sizes = [(48, 64), (100, 20), (48, 64), (47, 64)]  # the last is padded to the first's
    samples = [detector.transform(np.zeros((*size, 3), dtype=np.uint8), i) for i, size in enumerate(sizes)]
    found = by_padded_shape(detector, samples)
    assert [[sample.image_id for sample in group] for group in found] == [[0, 2, 3], [1]]


def noted(seen: list[str], name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    def noted_work(*arguments: Any) -> Any:
        seen.append(name)
        return work(*arguments)

    return noted_work


def test_an_image_lies_between_two_synchronisations(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    sample, seen = detector.transform(np.full((40, 60, 3), 128, dtype=np.uint8)), list[str]()
    monkeypatch.setattr("zoo.run.timing.synchronize", noted(seen, "synchronize", lambda _: None))
    monkeypatch.setattr("zoo.run.timing.time.perf_counter", noted(seen, "clock", itertools.count().__next__))
    for phase in ("prepare", "network", "postprocess"):
        monkeypatch.setattr(detector, phase, noted(seen, phase, getattr(detector, phase)))
    seconds = time_image(detector, sample, "fp32")
    monkeypatch.undo()
    assert seen == ["synchronize", "clock", "prepare", "network", "postprocess", "synchronize", "clock"]
    assert seconds == 1


def test_nothing_waits_for_the_device_between_phases(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    sample, seen = detector.transform(np.full((40, 60, 3), 128, dtype=np.uint8)), list[str]()
    monkeypatch.setattr("zoo.run.timing.synchronize", noted(seen, "synchronize", lambda _: None))
    marks = iter([0.0, 1.0, 3.0, 7.0])
    monkeypatch.setattr("zoo.run.timing.mark", noted(seen, "mark", lambda _: next(marks)))
    for phase in ("prepare", "network", "postprocess"):
        monkeypatch.setattr(detector, phase, noted(seen, phase, getattr(detector, phase)))
    times = time_phases(detector, sample, "fp32")
    monkeypatch.undo()
    steps = [step for phase in ("prepare", "network", "postprocess") for step in (phase, "mark")]
    assert seen == ["synchronize", "mark", *steps, "synchronize"]
    assert times == PhaseTimes(pre=1, model=2, post=4)
    assert torch.is_inference_mode_enabled() is False


def test_marks_of_a_gpu_are_events_on_its_current_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: str) -> None:
            self.stream = stream

        def elapsed_time(self, later: Event) -> float:
            assert later is not self
            return 250.0  # milliseconds

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    device = torch.device("cuda", 1)
    first, second = mark(device), mark(device)
    assert isinstance(first, Event)
    assert first.stream == "stream of cuda:1"
    assert seconds_between(first, second) == 0.25
    assert seconds_between(1.0, 3.5) == 2.5


@pytest.mark.parametrize(
    ("device", "images", "expected"),
    [("cpu", "auto", 7), ("cuda", "auto", 200), ("cuda", 7, 7), ("cpu", 1000, 300)],  # the last: no more than there are
)
def test_how_many_images_are_timed(device: str, images: int | str, expected: int) -> None:
    class Numbers:
        def __len__(self) -> int:
            return 300

        def sample(self, index: int) -> int:
            return index

    dataset: Any = Numbers()
    found: Any = timed_samples(dataset, torch.device(device), images)
    assert found == list(range(expected))
