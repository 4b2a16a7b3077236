"""Memory: the peak is a peak, above what was there before, and the same whatever ran before."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest
import torch
from conftest import ENTRY
from subjects import SMALL, make_subject

from zoo.data import loader
from zoo.data.batching import PlannedBatch
from zoo.measure import memory
from zoo.measure.memory import MEASUREMENT, DevicePeak, HostPeak
from zoo.run import evaluate

MB = 1 << 20


def block(megabytes: int) -> torch.Tensor:
    return torch.ones(megabytes * MB, dtype=torch.uint8)


def test_the_peak_is_the_most_at_one_time() -> None:
    with HostPeak() as host:
        first = block(64)
        second = block(32)
        del first, second
        third = block(48)
    assert len(third) == 48 * MB
    assert host.peak_bytes == pytest.approx(96 * MB, rel=1e-3)


def test_what_was_there_before_does_not_count() -> None:
    kept, gone = block(64), block(128)
    del gone
    with HostPeak() as host:
        own = block(16)
        del kept  # what it gives back is not what it took
        own = own + 1
    assert len(own) == 16 * MB
    assert host.peak_bytes <= 32 * MB * 1.001


def test_the_place_in_a_sweep_does_not_matter(tiny_coco: Path, tmp_path: Path) -> None:
    subject = make_subject(ENTRY, tiny_coco, tmp_path, SMALL)
    first: Any = MEASUREMENT.run(subject)["memory"]
    kept = [torch.rand(1000, 1000) for _ in range(20)]
    del kept[::2]
    last: Any = MEASUREMENT.run(subject)["memory"]
    weights = sum(tensor.nbytes for tensor in subject.detector.state_dict().values())
    assert first["kind"] == "host"
    assert first["peak_allocated_bytes"] > weights
    assert last["peak_allocated_bytes"] == pytest.approx(first["peak_allocated_bytes"], rel=0.02)


def test_the_weights_are_part_of_it(tiny_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FiveBytes(HostPeak):
        def __exit__(self, *error: object) -> None:
            super().__exit__(*error)
            self.peak_bytes = 5

    monkeypatch.setattr(memory, "HostPeak", FiveBytes)
    subject = make_subject(ENTRY, tiny_coco, tmp_path, SMALL)
    measured: Any = MEASUREMENT.run(subject)["memory"]
    weights = sum(tensor.nbytes for tensor in subject.detector.state_dict().values())
    assert measured["peak_allocated_bytes"] == weights + 5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_peaks() -> None:
    device = DevicePeak(torch.device("cuda", 0))
    taken = torch.ones(64 * MB, dtype=torch.uint8, device="cuda")
    del taken
    peaks = device.result()
    assert peaks["peak_reserved_bytes"] >= peaks["peak_allocated_bytes"] >= 64 * MB


@pytest.mark.parametrize(
    ("batches", "evaluated"),
    [
        ([(i,) for i in range(10)], [(9,), (8,), (7,), (6,), (5,), (4,), (3,), (2,)]),
        ([(0, 9, 1), (2, 3, 4), (5, 6, 7), (8,)], [(0, 9, 1), (8,), (5, 6, 7)]),  # eight images are in three batches
    ],
)
def test_the_largest_images_are_evaluated(
    batches: list[tuple[int, ...]], evaluated: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []
    monkeypatch.setattr(loader, "image_loader", lambda _, chosen, workers: [batch.indices for batch in chosen])  # noqa: ARG005
    monkeypatch.setattr(evaluate, "detect", lambda _, samples, __: seen.append(samples))
    heights, widths = np.full(10, 20), np.arange(10) + 1
    subject: Any = SimpleNamespace(
        ground_truth=SimpleNamespace(heights=heights, widths=widths),
        batches=[PlannedBatch(indices) for indices in batches],
        **dict.fromkeys(("dataset", "detector", "precision")),
    )
    memory._evaluate_largest(subject)
    assert seen == evaluated


def test_a_first_pass_is_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Watched(HostPeak):
        def __enter__(self) -> Self:
            seen.append("watch")
            return self

        def __exit__(self, *error: object) -> None:
            seen.append("stop")

    monkeypatch.setattr(memory, "HostPeak", Watched)
    monkeypatch.setattr(memory, "_evaluate_largest", lambda _: seen.append("evaluate"))
    subject: Any = SimpleNamespace(device=torch.device("cpu"), detector=torch.nn.Linear(1, 1))
    assert MEASUREMENT.run(subject) == {"memory": {"kind": "host", "peak_allocated_bytes": 8}}
    assert seen == ["evaluate", "watch", "evaluate", "stop"]
