"""mmdetection's training views: a random scale, a random crop in some recipes, flips.

Source of the rules: `CocoDataset` (filter_empty_gt, min_size) and the train pipelines of mmdetection 2.x.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zoo.data.augment.labels import (
    Bools,
    LabelRules,
    has_area,
    is_annotated,
    is_in_sight,
    is_not_ignored,
    is_single,
    read_boxes,
    rule,
)
from zoo.data.augment.operations import Operation, RandomCrop, RandomHFlip, RandomResize
from zoo.data.augment.settings import MultiScale
from zoo.data.augment.source import LabeledImages
from zoo.data.augment.training_set import TrainingSet
from zoo.data.coco import CocoGroundTruth

MIN_IMAGE_SIDE = 32
"""Images with a shorter side, in pixels, are not trained on."""

MIN_BOX_SIDE = 1
"""Objects with a shorter side, in pixels, are not trained on."""

FLIP = 0.5
"""Probability of a flip."""


@rule(f"with a side below {MIN_IMAGE_SIDE} pixels")
def is_large(ground_truth: CocoGroundTruth) -> Bools:
    """Whether no side of each image (I,) is shorter than `MIN_IMAGE_SIDE`."""
    return np.minimum(ground_truth.heights, ground_truth.widths) >= MIN_IMAGE_SIDE


@rule(f"with a side below {MIN_BOX_SIDE} pixel")
def is_thick(ground_truth: CocoGroundTruth) -> Bools:
    """Whether no side of the box of each annotation (A,) is shorter than `MIN_BOX_SIDE`."""
    width, height = ground_truth.boxes[:, 2:].T
    thick: Bools = (width >= MIN_BOX_SIDE) & (height >= MIN_BOX_SIDE)
    return thick


LABELS = LabelRules(
    images=(is_annotated, is_large),
    objects=(is_single, is_not_ignored, has_area, is_thick, is_in_sight),
    read=read_boxes,
)
"""An image whose annotations are all left out stays, as background."""


def training_set(
    ground_truth: CocoGroundTruth,
    files: Sequence[Path],
    *,
    multi_scale: MultiScale,
    crop: int | None = None,
    flip: float = FLIP,
    seed: int,
    masks: bool,
) -> TrainingSet:
    """The views that mmdetection trains on.

    Args:
        ground_truth: annotations, whose categories are the classes to train on.
        files: image files, in the order of `ground_truth.image_ids`.
        multi_scale: scales of the resize.
        crop: side in pixels of a random square crop after it, drawn again until it shows an object, and padded to
            the whole square where the image is smaller; None sees the whole image.
        flip: probability of a flip.
        seed: seed of the views.
        masks: whether targets have masks.

    Raises:
        DataError: no image is left to train on.
    """
    operations: list[Operation] = [RandomResize(multi_scale), RandomHFlip(flip)]
    if crop is not None:
        operations.insert(1, RandomCrop(crop))
    images = LabeledImages(ground_truth, files, LABELS)
    square = None if crop is None else (crop, crop)
    return TrainingSet(
        images, {0: operations}, seed=seed, masks=masks, batch_shape=square, redraw_empty=square is not None
    )
