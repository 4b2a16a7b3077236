"""Which images and objects are trained on, and how their boxes are read from COCO's annotations.

Legend: I images and A annotations of the data set; G objects of one image, P points of an outline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from zoo.data.augment.masks import AnnotatedMasks
from zoo.data.coco import CocoGroundTruth

Bools: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float32]
Ints: TypeAlias = npt.NDArray[np.int64]

Rule: TypeAlias = Callable[[CocoGroundTruth], Bools]
"""Whether each image (I,), or each annotation (A,), fulfils something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """What is to be found in one image.

    Attributes:
        labels: int64 (G,), positions in the class list.
        boxes: float32 (G, 4), xyxy.
        outlines: float32 (G, P, 2), x and y; P is 0 where the style does not read them.
        masks: masks of the objects; None where their outlines are filled instead.
    """

    labels: Ints
    boxes: Floats
    outlines: Floats
    masks: AnnotatedMasks | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRules:
    """How a framework reads a training set.

    Attributes:
        images: rules that an image fulfils if it is trained on.
        objects: rules that an annotation fulfils if it is an object to find.
        read: the objects of an image, from the ground truth, the position of the image and those of its annotations
            that are left, int64 (G,).
    """

    images: tuple[Rule, ...]
    objects: tuple[Rule, ...]
    read: Callable[[CocoGroundTruth, int, Ints], Objects]

    def select_images(self, ground_truth: CocoGroundTruth) -> Ints:
        """Positions of the images that are trained on, ascending."""
        return np.flatnonzero(_fulfils(self.images, ground_truth, len(ground_truth)))

    def select_objects(self, ground_truth: CocoGroundTruth) -> Bools:
        """Whether each annotation (A,) is an object to find."""
        return _fulfils(self.objects, ground_truth, len(ground_truth.areas))


def is_annotated(ground_truth: CocoGroundTruth) -> Bools:
    """Whether each image (I,) has an annotation of any kind."""
    annotated = np.zeros(len(ground_truth), dtype=bool)
    annotated[ground_truth.image_index] = True
    return annotated


def is_single(ground_truth: CocoGroundTruth) -> Bools:
    """Whether each annotation (A,) is of one object, not of a crowd."""
    return ~ground_truth.is_crowd


def is_not_ignored(ground_truth: CocoGroundTruth) -> Bools:
    """Whether each annotation (A,) is not marked `ignore`."""
    return ~ground_truth.ignore


def has_area(ground_truth: CocoGroundTruth) -> Bools:
    """Whether each annotation (A,) has an area, of its mask where it has one."""
    return ground_truth.areas > 0


def has_extent(ground_truth: CocoGroundTruth) -> Bools:
    """Whether the box of each annotation (A,) is not empty."""
    width, height = ground_truth.boxes[:, 2:].T
    extended: Bools = (width > 0) & (height > 0)
    return extended


def is_in_sight(ground_truth: CocoGroundTruth) -> Bools:
    """Whether the box of each annotation (A,) reaches into its image."""
    x, y, width, height = ground_truth.boxes.T
    image_width = ground_truth.widths[ground_truth.image_index]
    image_height = ground_truth.heights[ground_truth.image_index]
    visible_width = np.minimum(x + width, image_width) - np.maximum(x, 0)
    visible_height = np.minimum(y + height, image_height) - np.maximum(y, 0)
    visible: Bools = (visible_width > 0) & (visible_height > 0)
    return visible


def read_boxes(ground_truth: CocoGroundTruth, image: int, annotations: Ints) -> Objects:
    """The objects of an image with COCO's own boxes, in pixels, and masks."""
    boxes = ground_truth.boxes[annotations]
    return Objects(
        labels=ground_truth.category_index[annotations],
        boxes=np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1).astype(np.float32),
        outlines=np.empty((len(boxes), 0, 2), dtype=np.float32),
        masks=AnnotatedMasks(ground_truth, annotations, ground_truth.size_of(image)),
    )


def _fulfils(rules: tuple[Rule, ...], ground_truth: CocoGroundTruth, count: int) -> Bools:
    """Whether each of `count` rows fulfils all rules."""
    fulfilled = np.ones(count, dtype=bool)
    for rule in rules:
        fulfilled &= rule(ground_truth)
    return fulfilled
