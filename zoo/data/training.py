"""Training data: which images and objects are trained on, and in what order they come.

Legend: I images of the set, B images a step, P images of a part. A part is what goes through the
network together (one GPU's share of a step in the original training); a batch is one or more parts.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from zoo.data.augment import Augmentation
from zoo.data.coco import CocoGroundTruth
from zoo.data.mask_targets import rasterise
from zoo.data.preprocess import decode
from zoo.errors import DataError, ZooError
from zoo.types import Sample, Target

SMALLEST_SIDE = 32
"""Images with a shorter side, in pixels, are not trained on (mmdetection)."""

# A crop without an object is drawn again, of another image. So many in a row mean that there is none.
_CROPS = 1000

Example: TypeAlias = tuple[Sample, Target]


class Draw(NamedTuple):
    """One place in the order of training; it alone decides what is seen there.

    Attributes:
        image: position in the training set.
        epoch: counted from 0.
        place: in the epoch.
    """

    image: int
    epoch: int
    place: int


class TrainingSet(Dataset[Example | ZooError]):
    """The images of a training set, and how an example is made of them.

    Attributes:
        wide: bool (I,), whether the example of each image is at least as wide as high.
    """

    wide: npt.NDArray[np.bool_]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, draw: Draw) -> Example | ZooError: ...


class TrainingDataset(TrainingSet):
    """Images with at least one object of a known class, and their objects.

    Dropped as mmdetection drops them: crowds, objects marked `ignore`, of no area, thinner than a
    pixel or outside the image; images without any annotation of a kept class or shorter than
    `SMALLEST_SIDE`. An image whose annotations are all dropped stays, as background.

    Args:
        ground_truth: annotations of the classes to train on.
        files: image files, in the order of `ground_truth.image_ids`.
        augmentation: how views are drawn.
        seed: of the views.
        masks: whether objects come with their masks.
    """

    def __init__(
        self,
        ground_truth: CocoGroundTruth,
        files: Sequence[Path],
        augmentation: Augmentation,
        seed: int,
        *,
        masks: bool = False,
    ) -> None:
        images = trainable_images(ground_truth)
        if not len(images):
            message = "no image of the training set shows an object of the classes to train on"
            raise DataError(message, next_step="check the annotations, or raise data.limit")
        kept = trainable_objects(ground_truth)
        self.image_ids = ground_truth.image_ids[images]
        self.files = [files[image] for image in images]
        self.wide = ground_truth.widths[images] >= ground_truth.heights[images]
        self.objects = [np.flatnonzero(kept[slot]) + slot.start for slot in map(ground_truth.annotations_of, images)]
        self.boxes = xyxy(ground_truth.boxes)
        self.labels = ground_truth.category_index
        self.outlines = ground_truth if masks else None
        self.augmentation = augmentation
        self.seed = seed

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, draw: Draw) -> Example | ZooError:
        # An error travels as a value: raised in a worker process it would arrive as a RuntimeError's traceback.
        generator = np.random.default_rng((self.seed, draw.epoch, draw.place))
        image = draw.image
        try:
            for _ in range(_CROPS):
                example = self._view(image, generator)
                if example is not None:
                    return example
                image = int(generator.choice(np.flatnonzero(self.wide == self.wide[draw.image])))
        except ZooError as error:
            return error
        message = f"{_CROPS} random crops of {self.augmentation.crop} pixels in a row show no object"
        return DataError(message, next_step="raise schedule.crop, or check the boxes of the annotations")

    def _view(self, image: int, generator: np.random.Generator) -> Example | None:
        """A random view of an image; None where a crop shows nothing of its objects."""
        pixels = decode(self.files[image])
        view = self.augmentation.draw((pixels.shape[0], pixels.shape[1]), generator)
        objects = self.objects[image]
        boxes = view.boxes(self.boxes[objects])
        if self.augmentation.crop is not None:
            visible = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
            objects, boxes = objects[visible], boxes[visible]
            if not len(boxes):
                return None
        sample = Sample(
            pixels=torch.from_numpy(view.pixels(pixels)),
            image_id=int(self.image_ids[image]),
            original_size=view.original,
            scale=view.scale,
        )
        target = Target(torch.from_numpy(boxes), torch.from_numpy(self.labels[objects]))
        if self.outlines is not None:
            bitmaps = rasterise([self.outlines.rle(int(annotation)) for annotation in objects], view.original)
            target.masks = torch.from_numpy(view.masks(bitmaps))
        return sample, target


class TrainingOrder:
    """Which images every step is trained on: a function of the seed and the step alone.

    Every epoch goes through the set in a new order. The images of a part are all wider than high, or
    all higher than wide, so that little is padding; a part or a batch that the set does not fill is
    filled with images from the epoch's beginning.

    Args:
        wide: bool (I,), whether an image is at least as wide as high.
        batch_size: B, images a step.
        part_size: P, images that go through the network together; divides B.
        seed: of the order.
        repeat: times the set is gone through in an epoch.
    """

    def __init__(
        self, wide: npt.NDArray[np.bool_], *, batch_size: int, part_size: int, seed: int, repeat: int = 1
    ) -> None:
        if batch_size % part_size:
            raise ValueError(f"a batch of {batch_size} images does not split into parts of {part_size}")
        images = np.tile(np.arange(len(wide)), repeat)
        groups = (images[wide[images]], images[~wide[images]])
        self.groups = [group for group in groups if len(group)]
        self.part_size = part_size
        self.parts_per_step = batch_size // part_size
        self.seed = seed
        parts = sum(-(-len(group) // part_size) for group in self.groups)
        self.steps_per_epoch = -(-parts // self.parts_per_step)
        self._current: tuple[int, npt.NDArray[np.int64]] | None = None

    def step(self, index: int) -> list[list[Draw]]:
        """The parts of a step, counted from 0 over all epochs."""
        epoch, position = divmod(index, self.steps_per_epoch)
        if self._current is None or self._current[0] != epoch:
            self._current = epoch, self._epoch(epoch)
        first = position * self.parts_per_step
        places = range(first, first + self.parts_per_step)
        return [
            [Draw(int(image), epoch, place * self.part_size + i) for i, image in enumerate(self._current[1][place])]
            for place in places
        ]

    def _epoch(self, epoch: int) -> npt.NDArray[np.int64]:
        """The images of every part of an epoch, (steps * parts a step, P)."""
        generator = np.random.default_rng((self.seed, epoch))
        parts = [
            np.resize(generator.permutation(group), (-(-len(group) // self.part_size), self.part_size))
            for group in self.groups
        ]
        order = generator.permutation(np.concatenate(parts))  # of whole parts
        return np.resize(order, (self.steps_per_epoch * self.parts_per_step, self.part_size))


class TrainingBatches:
    """The examples of every step, one part after another, for one of several processes.

    Args:
        dataset: where they come from.
        order: which they are.
        workers: processes that decode images; 0 decodes in this one.
        rank: of this process: it gets every `processes`-th part of a step, beginning with this.
        processes: that share the parts of a step.
    """

    def __init__(
        self, dataset: TrainingSet, order: TrainingOrder, *, workers: int = 0, rank: int = 0, processes: int = 1
    ) -> None:
        self.dataset = dataset
        self.order = order
        self.workers = workers
        self.rank = rank
        self.processes = processes

    def __call__(self, start: int, stop: int) -> Iterator[list[list[Example]]]:
        """The parts of the steps from `start` up to `stop`.

        Raises:
            DataError: an image is missing or damaged.
        """
        mine = (part for step in range(start, stop) for part in self.order.step(step)[self.rank :: self.processes])
        parts = iter(
            DataLoader(
                self.dataset,
                batch_sampler=mine,
                num_workers=self.workers,
                collate_fn=list,
                worker_init_fn=_one_thread,
                generator=torch.Generator(),  # the loader draws a number: not from the stream the model draws from
            )
        )
        for _ in range(start, stop):
            yield [_checked(next(parts)) for _ in range(self.rank, self.order.parts_per_step, self.processes)]


def _checked(part: Sequence[Example | ZooError]) -> list[Example]:
    examples = []
    for example in part:
        if isinstance(example, ZooError):
            raise example
        examples.append(example)
    return examples


def _one_thread(_worker: int) -> None:
    # Workers share the machine; OpenCV's own threads in each would fight over the cores.
    cv2.setNumThreads(0)


def trainable_images(ground_truth: CocoGroundTruth) -> npt.NDArray[np.int64]:
    """Positions of the images with an annotation of any kind, none of whose sides is shorter than `SMALLEST_SIDE`."""
    annotated = np.zeros(len(ground_truth), dtype=bool)
    annotated[ground_truth.image_index] = True
    large = np.minimum(ground_truth.heights, ground_truth.widths) >= SMALLEST_SIDE
    return np.flatnonzero(annotated & large)


def trainable_objects(ground_truth: CocoGroundTruth) -> npt.NDArray[np.bool_]:
    """Whether each annotation (A,) is an object to find, as `TrainingDataset` has it."""
    x, y, width, height = ground_truth.boxes.T
    image_width = ground_truth.widths[ground_truth.image_index]
    image_height = ground_truth.heights[ground_truth.image_index]
    visible_width = np.minimum(x + width, image_width) - np.maximum(x, 0)
    visible_height = np.minimum(y + height, image_height) - np.maximum(y, 0)
    visible = (visible_width > 0) & (visible_height > 0)
    solid = (ground_truth.areas > 0) & (width >= 1) & (height >= 1)
    kept: npt.NDArray[np.bool_] = visible & solid & ~ground_truth.is_crowd & ~ground_truth.ignore
    return kept


def xyxy(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """COCO's boxes (A, 4), x, y, width, height, as float32 corners."""
    return np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1).astype(np.float32)
