"""The timing loop: real images, one by one, each phase between two synchronisations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from zoo.data.loader import ImageDataset
from zoo.models.detectors.base import Detector
from zoo.run.precision import autocast
from zoo.runtime.progress import Progress
from zoo.types import Sample

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PhaseTimes:
    """Seconds one image spent in each phase; decoding and resizing came before the clock started.

    Attributes:
        pre: copy to the device, normalisation, padding.
        model: the network up to raw outputs.
        post: suppression and rescaling.
    """

    pre: float
    model: float
    post: float

    @property
    def total(self) -> float:
        """Seconds from bytes on the host to detections."""
        return self.pre + self.model + self.post


@torch.inference_mode()
def time_phases(
    detector: Detector, samples: Sequence[Sample], *, warmup: int, rounds: int, precision: str
) -> Iterator[tuple[int, PhaseTimes]]:
    """Time every sample once a round, batch size 1.

    Args:
        detector: in eval mode.
        samples: preprocessed images, held in memory.
        warmup: untimed images first.
        rounds: passes over all samples.
        precision: of the network.

    Yields:
        The round (0, 1, ...) and the times of one image.
    """
    with Progress("speed", total=warmup + rounds * len(samples), unit="img") as progress:
        for i in range(warmup):
            _time_one(detector, samples[i % len(samples)], precision)
            progress.update()
        for index in range(rounds):
            for sample in samples:
                yield index, _time_one(detector, sample, precision)
                progress.update()


def timed_samples(
    dataset: ImageDataset, device: torch.device, images: int | str, warmup: int | str
) -> tuple[list[Sample], int]:
    """The first images of an evaluation, held in memory, and how many are run through before the clock starts.

    Args:
        dataset: images of the evaluation.
        device: that is timed; decides what "auto" means.
        images: number of images, or "auto".
        warmup: number of images, or "auto".
    """
    on_gpu = device.type == "cuda"
    wanted = images if isinstance(images, int) else 200 if on_gpu else 5
    first = warmup if isinstance(warmup, int) else 50 if on_gpu else 2
    return [dataset.sample(index) for index in range(min(wanted, len(dataset)))], first


def _time_one(detector: Detector, sample: Sample, precision: str) -> PhaseTimes:
    device = detector.device
    with autocast(device, precision):
        pre, batch = _timed(device, lambda: detector.prepare([sample]))
        model, outputs = _timed(device, lambda: detector.network(batch))
        post, _ = _timed(device, lambda: detector.postprocess(outputs, batch))
    return PhaseTimes(pre, model, post)


def _timed(device: torch.device, work: Callable[[], T]) -> tuple[float, T]:
    """Seconds between a synchronised start and a synchronised end, and what the work gave."""
    _synchronize(device)
    start = time.perf_counter()
    result = work()
    _synchronize(device)
    return time.perf_counter() - start, result


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
