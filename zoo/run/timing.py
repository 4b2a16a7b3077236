"""Times of single images: whole, between two synchronisations, and by phases, between events on the device's stream."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import torch

from zoo.data.loader import ImageDataset
from zoo.models.detectors.base import Detector
from zoo.run.evaluate import detect
from zoo.run.precision import inference_precision
from zoo.types import Sample, Size

Mark: TypeAlias = torch.cuda.Event | float
"""A point in the work of a device: an event on its stream, or on a CPU seconds of the clock."""


@dataclass(frozen=True, slots=True)
class PhaseTimes:
    """Seconds one image spent in each phase; decoding and resizing came before the clock started.

    Attributes:
        pre: copy to the device, normalisation, padding.
        model: the network up to raw outputs.
        post: suppression, rescaling, and the copy of the detections to the host.
    """

    pre: float
    model: float
    post: float


_IMAGES = {"cuda": 200, "cpu": 7}
"""Kind of device -> images of a round; three rounds of seven are the fewest that a 95th percentile takes."""


def timed_samples(dataset: ImageDataset, device: torch.device, images: int | str) -> list[Sample]:
    """The first images of an evaluation, held in memory.

    Args:
        dataset: images of the evaluation.
        device: that is timed; decides what "auto" means.
        images: number of images, or "auto".
    """
    wanted = images if isinstance(images, int) else _IMAGES[device.type]
    return [dataset.sample(index) for index in range(min(wanted, len(dataset)))]


@torch.inference_mode()
def by_padded_shape(detector: Detector, samples: Sequence[Sample]) -> list[list[Sample]]:
    """The samples of each shape that their batches of one have on the device, in the order of the first of each."""
    found: dict[Size, list[Sample]] = defaultdict(list)
    for sample in samples:
        height, width = detector.prepare([sample]).images.shape[-2:]
        found[height, width].append(sample)
    return list(found.values())


def time_image(detector: Detector, sample: Sample, precision: str) -> float:
    """Seconds from the pixels of one image, resized, in the host's memory, to its detections there.

    The device is waited for at each end, and nowhere between unless the detector does.

    Args:
        detector: in eval mode.
        sample: a batch of one.
        precision: of the network.
    """
    device = detector.device
    synchronize(device)
    start = time.perf_counter()
    detect(detector, [sample], precision)
    synchronize(device)
    return time.perf_counter() - start


@torch.inference_mode()
def time_phases(detector: Detector, sample: Sample, precision: str) -> PhaseTimes:
    """The phases of one image, by events on the stream, so that nothing waits for the device between them.

    Args:
        detector: in eval mode.
        sample: a batch of one.
        precision: of the network.
    """
    device = detector.device
    with inference_precision(detector, device, precision):
        synchronize(device)
        marks = [mark(device)]
        batch = detector.prepare([sample])
        marks.append(mark(device))
        outputs = detector.network(batch)
        marks.append(mark(device))
        for found in detector.postprocess(outputs, batch):
            found.cpu()
        marks.append(mark(device))
    synchronize(device)
    pre, model, post = (seconds_between(first, second) for first, second in pairwise(marks))
    return PhaseTimes(pre, model, post)


def synchronize(device: torch.device) -> None:
    """Wait until a device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def mark(device: torch.device) -> Mark:
    """The present point in the work of a device: an event recorded on its current stream; on a CPU the clock."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return event


def seconds_between(first: Mark, second: Mark) -> float:
    """Seconds between two marks of one device, which has been waited for."""
    if isinstance(first, float) or isinstance(second, float):
        assert isinstance(first, float)  # noqa: S101 - marks of one device are of one kind
        assert isinstance(second, float)  # noqa: S101
        return second - first
    return float(first.elapsed_time(second)) / 1e3
