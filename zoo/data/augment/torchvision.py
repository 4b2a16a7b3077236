"""torchvision's training views: decoded images changed by a list of operations, then prepared as in the evaluation.

Source of the rules: `coco_utils.py` and `presets.py` of torchvision's references/detection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from zoo.data.augment.labeled_image import LabeledImage
from zoo.data.augment.labels import Bools, Floats, Ints, LabelRules, Objects, is_single, read_boxes, rule
from zoo.data.augment.operations import Operation
from zoo.data.augment.settings import ViewTransform
from zoo.data.augment.source import LabeledImages
from zoo.data.augment.torchvision_operations import operation, resized_masks
from zoo.data.augment.training_set import Example, TrainingSet
from zoo.data.coco import CocoGroundTruth
from zoo.data.preprocess import Preprocess
from zoo.types import Transform

MIN_BOX_SIDE = 1
"""An image is trained on if both sides of one of its boxes are longer than so many pixels."""

MIN_KEYPOINTS = 10
"""Keypoints are trained on images that have at least so many labelled ones."""


@rule(f"without a box whose sides are longer than {MIN_BOX_SIDE} pixel")
def shows_a_box(ground_truth: CocoGroundTruth) -> Bools:
    """Whether each image (I,) has a box that is longer than `MIN_BOX_SIDE` both ways, even of a crowd."""
    shown = np.zeros(len(ground_truth), dtype=bool)
    shown[ground_truth.image_index[(ground_truth.boxes[:, 2:] > MIN_BOX_SIDE).all(axis=1)]] = True
    return shown


@rule(f"with fewer than {MIN_KEYPOINTS} labelled keypoints")
def shows_keypoints(ground_truth: CocoGroundTruth) -> Bools:
    """Whether the objects of each image (I,) together have at least `MIN_KEYPOINTS` labelled keypoints."""
    labelled = (ground_truth.require_keypoints()[:, :, 2] > 0).sum(axis=1)
    enough: Bools = np.bincount(ground_truth.image_index, labelled, len(ground_truth)) >= MIN_KEYPOINTS
    return enough


@rule("of whose box nothing lies in the image")
def is_in_image(ground_truth: CocoGroundTruth) -> Bools:
    """Whether something is left of the box of each annotation (A,) where it ends with its image."""
    owners = ground_truth.image_index
    boxes = clipped_boxes(ground_truth.boxes, ground_truth.widths[owners], ground_truth.heights[owners])
    left: Bools = np.all(boxes[:, :2] < boxes[:, 2:], axis=1)
    return left


def clipped_boxes(boxes: npt.NDArray[np.float64], widths: Ints, heights: Ints) -> Floats:
    """COCO's boxes (A, 4), xywh, as corners in float32 that end with their images.

    Args:
        boxes: float64 (A, 4).
        widths: of the image of each, (A,), or of their one image.
        heights: likewise.
    """
    given = boxes.astype(np.float32)
    corners = np.concatenate((given[:, :2], given[:, :2] + given[:, 2:]), axis=1)
    ends = np.stack((widths, heights), axis=-1).astype(np.float32)
    return np.clip(corners, 0, np.concatenate((ends, ends), axis=-1))


def read_objects(ground_truth: CocoGroundTruth, image: int, annotations: Ints) -> Objects:
    """The objects of an image, with masks, and keypoints where there are any; boxes end with the image."""
    height, width = ground_truth.size_of(image)
    boxes = clipped_boxes(ground_truth.boxes[annotations], np.array(width), np.array(height))
    return replace(read_boxes(ground_truth, image, annotations), boxes=boxes)


LABELS = LabelRules(images=(shows_a_box,), objects=(is_single, is_in_image), read=read_objects)
"""An image whose objects are all left out stays, as background."""

KEYPOINT_LABELS = replace(LABELS, images=(shows_a_box, shows_keypoints))
"""Where keypoints are trained on."""


class PreparedViews(TrainingSet):
    """Views that are prepared as the evaluation prepares an image, after their operations.

    Args:
        images: what is trained on.
        operations: what is done to a decoded image, in order.
        transform: the host-side preprocessing of the detector.
        seed: seed of the views.
        masks: whether targets have masks.
        keypoints: whether targets have keypoints.
    """

    def __init__(
        self,
        images: LabeledImages,
        operations: Sequence[Operation],
        transform: Transform,
        *,
        seed: int,
        masks: bool,
        keypoints: bool,
    ) -> None:
        super().__init__(images, {0: operations}, seed=seed, masks=masks, keypoints=keypoints, by_orientation=False)
        self.transform = transform

    def _as_example(self, view: LabeledImage, image: int) -> Example:
        pixels = np.ascontiguousarray(view.pixels[:, :, ::-1])
        sample = self.transform(pixels, int(self.images.image_ids[image]))
        factors = np.array(sample.scale, dtype=np.float32)
        resized = replace(
            view,
            boxes=view.boxes * np.tile(factors, 2),
            masks=resized_masks(view.masks, sample.size),
            keypoints=None if view.keypoints is None else view.keypoints * np.append(factors, np.float32(1)),
        )
        return sample, self._target(resized)


def training_set(
    ground_truth: CocoGroundTruth,
    files: Sequence[Path],
    transforms: Sequence[ViewTransform],
    *,
    transform: Transform,
    seed: int,
    masks: bool,
    keypoints: bool,
) -> PreparedViews:
    """The views that torchvision trains on.

    Args:
        ground_truth: annotations, whose categories are the classes to train on.
        files: image files, in the order of `ground_truth.image_ids`.
        transforms: the operations on a decoded image, in their order.
        transform: the host-side preprocessing of the detector, which comes after them.
        seed: seed of the views.
        masks: whether targets have masks.
        keypoints: whether targets have keypoints.

    Raises:
        DataError: no image is left to train on, or the annotations have no keypoints where they are to be learnt.
    """
    assert isinstance(transform, Preprocess)  # noqa: S101 - every protocol's is
    images = LabeledImages(ground_truth, files, KEYPOINT_LABELS if keypoints else LABELS, transform.decoder)
    operations = [operation(settings) for settings in transforms]
    return PreparedViews(images, operations, transform, seed=seed, masks=masks, keypoints=keypoints)
