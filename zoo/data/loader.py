"""Images ahead of the detector: decoded, resized and augmented by worker processes, for evaluation and training."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from zoo.data.augment.training_set import Example
from zoo.data.batching import PlannedBatch
from zoo.data.sampler import BatchSampler
from zoo.errors import ZooError
from zoo.runtime.distributed import processes_on_this_machine
from zoo.runtime.hardware import usable_cores
from zoo.types import Sample, Size, Transform

T = TypeVar("T")

MAX_WORKERS = 6
"""Processes that decode images for a GPU where a run does not say. Each gives over a hundred images a second, and a GPU
takes a few hundred of the smallest network's; what they have ready must fit 64 MB of shared memory, all that many a
container has."""

_CPU = torch.device("cpu")


class ImageDataset(Dataset[Sample | ZooError]):
    """The images of an evaluation, in a fixed order.

    Args:
        files: image files.
        image_ids: the data set's id of each.
        sizes: (height, width) of each, as the annotations have it.
        transform: host-side preprocessing.
    """

    def __init__(
        self, files: Sequence[Path], image_ids: Sequence[int], sizes: Sequence[Size], transform: Transform
    ) -> None:
        self.files = list(files)
        self.image_ids = [int(image_id) for image_id in image_ids]
        self.sizes = list(sizes)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample | ZooError:
        # An error travels as a value: raised in a worker process it would arrive as a RuntimeError's traceback.
        try:
            return self.sample(index)
        except ZooError as error:
            return error

    def sample(self, index: int) -> Sample:
        """An image, decoded and resized.

        Raises:
            DataError: it is missing or damaged, or is not of the size that its annotations were made for.
        """
        return self.transform(self.files[index], self.image_ids[index], self.sizes[index])


def image_loader(
    dataset: ImageDataset,
    batches: Sequence[PlannedBatch],
    workers: int,
    *,
    device: torch.device = _CPU,
    rank: int = 0,
    world_size: int = 1,
) -> Generator[list[Sample]]:
    """Batches as lists of samples, in the order they were planned.

    Bytes, not floats, travel between the processes: a quarter of the traffic.

    Args:
        dataset: the images.
        batches: which images go together, and in what shape.
        workers: processes that decode them; 0 decodes in this one. They end when the iterator is closed.
        device: that the images go to.
        rank: of this process: it gets every `world_size`-th batch, beginning with this.
        world_size: number of processes that share the batches; those are the same however many share them.

    Raises:
        DataError: an image is missing or damaged, or is not of the size that its annotations were made for.
    """
    own = batches[rank::world_size]
    loaded_batches = _loaded(dataset, [list(batch.indices) for batch in own], workers, device)
    for planned, loaded in zip(own, loaded_batches, strict=True):
        samples = _unwrap(loaded)
        for sample in samples:
            sample.batch_shape = planned.batch_shape or sample.batch_shape
        yield samples


class TrainLoader:
    """The examples of every step of a training, micro-batch by micro-batch, for one of several processes.

    Args:
        dataset: views of the training images.
        sampler: which of them each step is trained on.
        workers: processes that make them; 0 makes them in this one.
        device: that they go to.
        rank: number of this process: it gets every `world_size`-th micro-batch of a step, beginning with this.
        world_size: number of processes that share the micro-batches of a step.
    """

    def __init__(
        self,
        dataset: Dataset[Example | ZooError],
        sampler: BatchSampler,
        *,
        workers: int = 0,
        device: torch.device = _CPU,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.dataset = dataset
        self.sampler = sampler
        self.workers = workers
        self.device = device
        self.rank = rank
        self.world_size = world_size

    def __call__(self, start: int, stop: int) -> Iterator[list[list[Example]]]:
        """The micro-batches of the steps from `start` up to `stop`.

        Raises:
            DataError: an image is missing or damaged.
        """
        own = (indices for step in range(start, stop) for indices in self._own(self.sampler.step(step)))
        # the loader draws a number: not from the stream the model draws from
        micro_batches = _loaded(self.dataset, own, self.workers, self.device, torch.Generator())
        count = len(self._own(range(self.sampler.micro_batches_per_step)))
        for _ in range(start, stop):
            yield [_unwrap(next(micro_batches)) for _ in range(count)]

    def _own(self, micro_batches: Sequence[T]) -> Sequence[T]:
        """The share of this process."""
        return micro_batches[self.rank :: self.world_size]


def default_workers(device: str) -> int:
    """How many processes decode images where a run does not say, by the kind of device that waits for them."""
    if device != "cuda":
        return 0  # a CPU that runs the network has no core to spare for another process
    share = usable_cores() // processes_on_this_machine()
    return max(1, min(MAX_WORKERS, share - 1))  # one is for the process that waits for them


def _loaded(
    dataset: Dataset[T],
    batches: Iterable[list[Any]],
    workers: int,
    device: torch.device,
    generator: torch.Generator | None = None,
) -> Iterator[list[T]]:
    """The items of each batch of indices, from a loader of PyTorch's; for a GPU in pinned memory."""
    on_gpu = device.type == "cuda"
    loader = DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=list,
        worker_init_fn=_single_threaded,
        pin_memory=on_gpu,
        generator=generator,
    )
    # The thread that pins works for the GPU that is the current one now, and would wake another.
    with torch.cuda.device(device) if on_gpu else nullcontext():
        return iter(loader)


def _unwrap(loaded: Sequence[T | ZooError]) -> list[T]:
    """What a worker has loaded; raises the first error among it."""
    values: list[T] = []
    for value in loaded:
        if isinstance(value, ZooError):
            raise value
        values.append(value)
    return values


def _single_threaded(_worker: int) -> None:
    # Workers share the machine; OpenCV's own threads in each would fight over the cores.
    cv2.setNumThreads(0)
