"""The evaluation loop: every image through a detector, every result into the metrics."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing

import torch

from zoo.data.detections import Detections
from zoo.errors import ZooError
from zoo.models.detectors.base import Detector
from zoo.run.precision import inference_precision
from zoo.run.stages import Found, Stages
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
    with closing(_detect(detector, batches, images, precision, context)) as own:
        found: Iterable[Found] = own if context.world_size == 1 else context.gather_in_order(_all(own))
        for image_ids, detections in found:
            for metric in metrics:
                metric.update(image_ids, detections)


def _all(found: Iterable[Found]) -> list[Found] | ZooError:
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
        precision: of the network. Of many batches, enter `inference_precision` around all.
    """
    with inference_precision(detector, detector.device, precision):
        return [found.cpu() for found in detector(samples)]


def _detect(
    detector: Detector, batches: Iterable[Sequence[Sample]], images: int, precision: str, context: DistributedContext
) -> Generator[Found]:
    """The detections of this process's batches."""
    share = -(-images // context.world_size)
    with (
        Progress("evaluate", total=share, unit="img", hidden=not context.is_main) as progress,
        closing(Stages(detector, precision).overlapped(batches)) as found,
    ):
        for image_ids, detections in found:
            yield image_ids, detections
            progress.update(len(image_ids))
