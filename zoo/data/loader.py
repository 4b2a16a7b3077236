"""Images of a data set as samples, decoded and resized ahead of the detector by worker processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
from torch.utils.data import DataLoader, Dataset

from zoo.types import Sample, Transform


class ImageDataset(Dataset[Sample]):
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

    def __getitem__(self, index: int) -> Sample:
        return self.transform(self.files[index], self.image_ids[index])


def image_loader(dataset: ImageDataset, batch_size: int, workers: int) -> DataLoader[Sample]:
    """Batches as lists of samples, in order.

    Bytes, not floats, travel between the processes: a quarter of the traffic.
    """
    return DataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=list,
        worker_init_fn=_single_threaded,
        persistent_workers=False,
    )


def _single_threaded(_worker: int) -> None:
    # Workers share the machine; OpenCV's own threads in each would fight over the cores.
    cv2.setNumThreads(0)
