"""The examples that a detector is trained on: views of labelled images, drawn by their place in the training."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from zoo.data.augment.labeled_image import LabeledImage
from zoo.data.augment.masks import Polygons
from zoo.data.augment.operations import Operation, apply
from zoo.data.augment.source import LabeledImages
from zoo.data.images import reason
from zoo.data.preprocess import ResizeError
from zoo.data.sampler import SampleIndex
from zoo.errors import DataError, ZooError
from zoo.types import Sample, Size, Target

Example: TypeAlias = tuple[Sample, Target]

MAX_DRAWS = 1000
"""Views without an object in a row that mean that there is none."""


class ExampleSet(Dataset[Example | ZooError]):
    """Examples by their place in a training; an image that cannot be had is an error in the place of one."""

    def __getitem__(self, index: SampleIndex) -> Example | ZooError:
        # An error travels as a value: raised in a worker process it would arrive as a RuntimeError's traceback.
        try:
            return self._example(index)
        except ZooError as error:
            return error

    @abstractmethod
    def _example(self, index: SampleIndex) -> Example:
        """The example at a place. Raises ZooError."""


class TrainingSet(ExampleSet):
    """Views of the images of a training set. All that is random in one follows from the seed and its place.

    Args:
        images: what is trained on.
        operations: what is done to an image, in order, by the first epoch (0 among them) in which that is done.
        seed: seed of the views.
        masks: whether targets have masks, or polygons where those are read.
        keypoints: whether targets have keypoints.
        batch_shape: (height, width) that all views are padded to; None takes the largest of each batch.
        by_orientation: whether only views of one orientation share a batch.
        redraw_empty: whether a view without an object is drawn again, of another image of the same orientation.

    Raises:
        DataError: targets have masks and an object has none to learn, or keypoints and the annotations have none.

    Attributes:
        is_landscape: bool (I,), whether the views of an image may share a batch with those of wide images; true for
            all where orientations are not kept apart.
    """

    def __init__(
        self,
        images: LabeledImages,
        operations: Mapping[int, Sequence[Operation]],
        *,
        seed: int,
        masks: bool,
        keypoints: bool = False,
        batch_shape: Size | None = None,
        by_orientation: bool = True,
        redraw_empty: bool = False,
    ) -> None:
        self.images = images
        self.operations = dict(operations)
        self.seed = seed
        if masks:
            images.require_masks()
        self.masks = masks
        if keypoints:
            images.require_keypoints()
        self.keypoints = keypoints
        self.batch_shape = batch_shape
        self.redraw_empty = redraw_empty
        self.is_landscape = images.is_landscape if by_orientation else np.ones(len(images), dtype=bool)

    def __len__(self) -> int:
        return len(self.images)

    def _example(self, index: SampleIndex) -> Example:
        generator = np.random.default_rng((self.seed, index.epoch, index.position))
        operations = self.operations[max(first for first in self.operations if first <= index.epoch)]
        image = index.image
        for _ in range(MAX_DRAWS):
            view = self._view(operations, image, generator)
            if len(view.labels) or not self.redraw_empty:
                return self._as_example(view, image)
            alike = np.flatnonzero(self.is_landscape == self.is_landscape[index.image])
            image = int(generator.choice(alike))
        message = f"{MAX_DRAWS} random crops of training images in a row show no object"
        raise DataError(message, next_step="raise schedule.crop, or check the boxes of the annotations")

    def _view(self, operations: Sequence[Operation], image: int, generator: np.random.Generator) -> LabeledImage:
        """An image after operations. Raises DataError, naming it, where one of them cannot be done."""
        loaded = self.images.load(image)
        try:
            return apply(operations, loaded, generator)
        except (cv2.error, ResizeError) as error:
            height, width = loaded.size
            message = f"{self.images.files[image]}: no training view can be made of {width} x {height} pixels"
            raise DataError(
                f"{message} ({reason(error)})", next_step="leave the image out of the annotations"
            ) from None

    def _as_example(self, view: LabeledImage, image: int) -> Example:
        sample = Sample(
            pixels=torch.from_numpy(np.ascontiguousarray(view.pixels)),
            image_id=int(self.images.image_ids[image]),
            original_size=view.original_size or view.size,
            scale=view.scale,
            batch_shape=self.batch_shape,
        )
        return sample, self._target(view)

    def _target(self, view: LabeledImage) -> Target:
        """What a detector is to find in a view."""
        target = Target(torch.from_numpy(view.boxes), torch.from_numpy(view.labels))
        if self.masks and isinstance(view.masks, Polygons):
            target.polygons = [[torch.from_numpy(points) for points in polygons] for polygons in view.masks.objects]
        elif self.masks:
            target.masks = torch.from_numpy(view.bitmaps())
        if self.keypoints and view.keypoints is not None:
            target.keypoints = torch.from_numpy(view.keypoints)
        return target
