"""Memory: the peak is a peak, above what was there before, and the same whatever ran before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ENTRY
from subjects import SMALL, make_subject

from zoo.measure import memory
from zoo.measure.memory import MEASUREMENT, DevicePeak, HostPeak

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
