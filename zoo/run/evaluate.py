"""The evaluation loop: every image through a detector, every result into the metrics."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from zoo.checkpoints.finite import is_finite
from zoo.data.detections import Detections
from zoo.errors import ZooError
from zoo.models.detectors.base import Detector
from zoo.run.precision import inference_precision
from zoo.runtime.distributed import DistributedContext
from zoo.runtime.progress import Progress
from zoo.types import Metric, Sample


def evaluate(
    detector: Detector,
    batches: Iterable[Sequence[Sample]],
    metrics: Sequence[Metric],
    *,
    images: int,
    precision: str,
    context: DistributedContext = DistributedContext(),  # noqa: B008 - immutable
) -> None:
    """Feed every image's detections to every metric; where several processes share them, in the first one.

    Args:
        detector: in eval mode.
        batches: of preprocessed samples; of several processes this one's share, as `image_loader` deals them out.
        metrics: updated with (image ids, detections on the CPU) of each batch, in the order of the images.
        images: how many there are in all, for the progress bar.
        precision: of the network.
        context: the processes that share the images.

    Raises:
        ZooError: an image of any process is missing or damaged, or the network computes what is no number.
    """
    found: Iterable[_Found] = _detect(detector, batches, images, precision, context)
    if context.world_size > 1:
        found = context.gather_in_order(_all(found))
    for image_ids, detections in found:
        for metric in metrics:
            metric.update(image_ids, detections)


_Found: TypeAlias = tuple[list[int], list[Detections]]
"""The image ids of a batch, and what was found in each."""


def _all(found: Iterable[_Found]) -> list[_Found] | ZooError:
    """Everything, or why not: the other processes must not wait for one that has nothing to say."""
    try:
        return list(found)
    except ZooError as error:
        return error


@torch.inference_mode()
def detect(detector: Detector, samples: Sequence[Sample], precision: str) -> list[Detections]:
    """The detections of one batch, on the CPU.

    Args:
        detector: in eval mode.
        samples: of one batch.
        precision: of the network.
    """
    with inference_precision(detector, detector.device, precision):
        return [found.cpu() for found in detector(samples)]


def _detect(
    detector: Detector, batches: Iterable[Sequence[Sample]], images: int, precision: str, context: DistributedContext
) -> Iterator[_Found]:
    """The detections of this process's batches."""
    share = -(-images // context.world_size)
    with (
        Progress("evaluate", total=share, unit="img", hidden=not context.is_main) as progress,
        refusing_non_finite(detector, precision),
    ):
        for samples in batches:
            yield [sample.image_id for sample in samples], detect(detector, samples, precision)
            progress.update(len(samples))


@contextlib.contextmanager
def refusing_non_finite(detector: Detector, precision: str) -> Iterator[None]:
    """Look at what the neck and every head compute: NaN finds nothing, and would count as an AP of 0.

    Raises:
        ZooError: one of them computes NaN or infinite values; the message names it.
    """
    looked_at = {name: part for name, part in detector.named_children() if name != "backbone"}

    def look(part: nn.Module, _inputs: Any, outputs: Any) -> None:
        if not all(map(is_finite, _floats(outputs))):
            name = next(name for name, known in looked_at.items() if known is part)
            message = f"the network computes NaN or infinite values (in {name}, precision={precision})"
            step = "look for broken weights in the checkpoint, such as a negative running variance"
            raise ZooError(message, next_step=step if precision == "fp32" else "evaluate it in precision=fp32")

    hooks = [part.register_forward_hook(look) for part in looked_at.values()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _floats(value: Any) -> Iterator[Tensor]:
    """Every floating-point tensor in what a module gives."""
    if isinstance(value, Tensor):
        yield from [value] if value.is_floating_point() else []
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _floats(item)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _floats(getattr(value, field.name))
