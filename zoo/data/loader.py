"""Images of a data set as samples, decoded and resized ahead of the detector by worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
from torch.utils.data import DataLoader, Dataset

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


def image_loader(dataset: ImageDataset, batch_size: int, workers: int) -> Iterator[list[Sample]]:
    """Batches as lists of samples, in order.

    Bytes, not floats, travel between the processes: a quarter of the traffic.

    Raises:
        DataError: an image is missing or damaged.
    """
    loader = DataLoader(
        dataset, batch_size=batch_size, num_workers=workers, collate_fn=list, worker_init_fn=_single_threaded
    )
    for batch in loader:
        for sample in batch:
            if isinstance(sample, ZooError):
                raise sample
        yield batch


def _single_threaded(_worker: int) -> None:
    # Workers share the machine; OpenCV's own threads in each would fight over the cores.
    cv2.setNumThreads(0)
