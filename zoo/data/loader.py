"""Images of a data set as samples, decoded and resized ahead of the detector by worker processes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
from torch.utils.data import DataLoader, Dataset

from zoo.data.batching import PlannedBatch
from zoo.errors import ZooError
from zoo.types import Sample, Transform


class ImageDataset(Dataset[Sample | ZooError]):
    """The images of an evaluation, in a fixed order.

    Args:
        files: image files.
        image_ids: the data set's id of each.
        transform: host-side preprocessing.
    """

    def __init__(self, files: Sequence[Path], image_ids: Sequence[int], transform: Transform) -> None:
        self.files = list(files)
        self.image_ids = [int(image_id) for image_id in image_ids]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample | ZooError:
        # An error travels as a value: raised in a worker process it would arrive as a RuntimeError's traceback.
        try:
            return self.transform(self.files[index], self.image_ids[index])
        except ZooError as error:
            return error


def image_loader(
    dataset: ImageDataset, batches: Sequence[PlannedBatch], workers: int, *, rank: int = 0, processes: int = 1
) -> Iterator[list[Sample]]:
    """Batches as lists of samples, in the order they were planned.

    Bytes, not floats, travel between the processes: a quarter of the traffic.

    Args:
        dataset: the images.
        batches: which images go together, and in what shape.
        workers: processes that decode them; 0 decodes in this one.
        rank: of this process: it gets every `processes`-th batch, beginning with this.
        processes: that share the batches; those are the same however many share them.

    Raises:
        DataError: an image is missing or damaged.
    """
    own = batches[rank::processes]
    loader = DataLoader(
        dataset,
        batch_sampler=[list(batch.indices) for batch in own],
        num_workers=workers,
        collate_fn=list,
        worker_init_fn=_single_threaded,
    )
    for planned, samples in zip(own, loader, strict=True):
        for sample in samples:
            if isinstance(sample, ZooError):
                raise sample
            sample.batch_shape = planned.batch_shape or sample.batch_shape
        yield samples


def default_workers(device: str) -> int:
    """How many processes decode images where a run does not say, by the kind of device that waits for them."""
    # A GPU outruns one decoding process; a CPU that runs the network has no core to spare for another.
    return min(4, os.cpu_count() or 1) if device == "cuda" else 0


def _single_threaded(_worker: int) -> None:
    # Workers share the machine; OpenCV's own threads in each would fight over the cores.
    cv2.setNumThreads(0)
