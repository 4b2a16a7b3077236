"""Which images and objects are trained on, and how their boxes are read from COCO's annotations.

Legend: I images and A annotations of the data set; G objects of one image, P points of an outline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from zoo.data.augment.masks import AnnotatedMasks, Polygons
from zoo.data.coco import CocoGroundTruth

Bools: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float32]
Ints: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition that images (I,), or annotations (A,), have to fulfil to be trained on.

    Attributes:
        fulfils: whether each does, bool (I,) or (A,).
        others: what those are called that do not.
    """

    fulfils: Callable[[CocoGroundTruth], Bools]
    others: str

    def __call__(self, ground_truth: CocoGroundTruth) -> Bools:
        """Whether each image (I,), or each annotation (A,), fulfils the condition."""
        return self.fulfils(ground_truth)


def rule(others: str) -> Callable[[Callable[[CocoGroundTruth], Bools]], Rule]:
    """Makes a rule of a function; see `Rule.others`."""
    return lambda fulfils: Rule(fulfils, others)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """How much of a data set is trained on.

    Attributes:
        images: number of images.
        objects: number of objects in them.
        images_left_out: reason -> number of images.
        objects_left_out: reason -> number of annotations.
    """

    images: int
    objects: int
    images_left_out: dict[str, int]
    objects_left_out: dict[str, int]

    def __str__(self) -> str:
        rows = ((self.images, "images", self.images_left_out), (self.objects, "objects", self.objects_left_out))
        return "; ".join(
            f"{count:,} {name}" + (f", left out: {_listed(left_out)}" if left_out else "")
            for count, name, left_out in rows
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """What is to be found in one image.

    Attributes:
        labels: int64 (G,), positions in the class list.
        boxes: float32 (G, 4), xyxy.
        outlines: float32 (G, P, 2), x and y; P is 0 where the style does not read them.
        masks: masks of the objects; None where their outlines are filled instead, or nobody asks for them.
        keypoints: float32 (G, K, 3), x, y and visibility of COCO's K; None where there are none.
    """

    labels: Ints
    boxes: Floats
    outlines: Floats
    masks: AnnotatedMasks | Polygons | None = None
    keypoints: Floats | None = None


@rule("without a segmentation")
def has_mask(ground_truth: CocoGroundTruth) -> Bools:
    """Whether each annotation (A,) has a segmentation of any kind."""
    return np.array([one is not None for one in ground_truth.segmentations], dtype=bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRules:
    """How a framework reads a training set.

    Attributes:
        images: rules that an image fulfils if it is trained on.
        objects: rules that an annotation fulfils if it is an object to find.
        read: the objects of an image, from the ground truth, the position of the image and those of its annotations
            that are left, int64 (G,).
        masks: rule that an annotation fulfils if its mask can be learnt.
    """

    images: tuple[Rule, ...]
    objects: tuple[Rule, ...]
    read: Callable[[CocoGroundTruth, int, Ints], Objects]
    masks: Rule = has_mask

    def select_images(self, ground_truth: CocoGroundTruth) -> Ints:
        """Positions of the images that are trained on, ascending."""
        return np.flatnonzero(_first_faults(self.images, ground_truth, np.ones(len(ground_truth), dtype=bool))[0])

    def select_objects(self, ground_truth: CocoGroundTruth) -> Bools:
        """Whether each annotation (A,) is an object to find."""
        return _first_faults(self.objects, ground_truth, np.ones(len(ground_truth.areas), dtype=bool))[0]

    def account(self, ground_truth: CocoGroundTruth) -> Account:
        """What is left out, each under the first rule that it does not fulfil."""
        images, images_left_out = _first_faults(self.images, ground_truth, np.ones(len(ground_truth), dtype=bool))
        in_them = images[ground_truth.image_index]
        objects, objects_left_out = _first_faults(self.objects, ground_truth, in_them)
        if not in_them.all():
            objects_left_out = {"in images left out": int((~in_them).sum()), **objects_left_out}
        return Account(
            images=int(images.sum()),
            objects=int(objects.sum()),
            images_left_out=images_left_out,
            objects_left_out=objects_left_out,
        )


@rule("without an annotation")
def is_annotated(ground_truth: CocoGroundTruth) -> Bools:
    """Whether each image (I,) has an annotation of any kind."""
    annotated = np.zeros(len(ground_truth), dtype=bool)
    annotated[ground_truth.image_index] = True
    return annotated


def shows(objects: tuple[Rule, ...]) -> Rule:
    """The rule that an image (I,) has an annotation that fulfils all rules of objects."""

    def has_object(ground_truth: CocoGroundTruth) -> Bools:
        fulfilled, _ = _first_faults(objects, ground_truth, np.ones(len(ground_truth.areas), dtype=bool))
        shown = np.zeros(len(ground_truth), dtype=bool)
        shown[ground_truth.image_index[fulfilled]] = True
        return shown

    return Rule(has_object, "without an object")


@rule("crowds")
def is_single(ground_truth: CocoGroundTruth) -> Bools:
    """Whether each annotation (A,) is of one object, not of a crowd."""
    return ~ground_truth.is_crowd


@rule("marked ignore")
def is_not_ignored(ground_truth: CocoGroundTruth) -> Bools:
    """Whether each annotation (A,) is not marked `ignore`."""
    return ~ground_truth.ignore


@rule("without an area")
def has_area(ground_truth: CocoGroundTruth) -> Bools:
    """Whether each annotation (A,) has an area, of its mask where it has one."""
    return ground_truth.areas > 0


@rule("with an empty box")
def has_extent(ground_truth: CocoGroundTruth) -> Bools:
    """Whether the box of each annotation (A,) is not empty."""
    width, height = ground_truth.boxes[:, 2:].T
    extended: Bools = (width > 0) & (height > 0)
    return extended


@rule("outside their image")
def is_in_sight(ground_truth: CocoGroundTruth) -> Bools:
    """Whether the box of each annotation (A,) reaches into its image."""
    x, y, width, height = ground_truth.boxes.T
    image_width = ground_truth.widths[ground_truth.image_index]
    image_height = ground_truth.heights[ground_truth.image_index]
    visible_width = np.minimum(x + width, image_width) - np.maximum(x, 0)
    visible_height = np.minimum(y + height, image_height) - np.maximum(y, 0)
    visible: Bools = (visible_width > 0) & (visible_height > 0)
    return visible


def inclusive_boxes(boxes: npt.NDArray[np.float64], widths: Ints, heights: Ints) -> npt.NDArray[np.float64]:
    """COCO's boxes (A, 4), xywh, as corners that lie in their images, both included.

    Boxes beyond the right or the bottom of their image have corners in the wrong order.

    Args:
        boxes: float64 (A, 4).
        widths: of the image of each, (A,), or of their one image.
        heights: likewise.
    """
    first = np.maximum(boxes[:, :2], 0)
    ends = np.stack((widths, heights), axis=-1) - 1
    return np.concatenate((first, np.minimum(ends, first + np.maximum(boxes[:, 2:] - 1, 0))), axis=1)


@rule("outside their image")
def is_in_image(ground_truth: CocoGroundTruth) -> Bools:
    """Whether the box of each annotation (A,) begins in its image."""
    sizes = (ground_truth.widths[ground_truth.image_index], ground_truth.heights[ground_truth.image_index])
    corners = inclusive_boxes(ground_truth.boxes, *sizes)
    ordered: Bools = np.all(corners[:, 2:] >= corners[:, :2], axis=1)
    return ordered


@rule("without polygons")
def has_polygons(ground_truth: CocoGroundTruth) -> Bools:
    """Whether the segmentation of each annotation (A,) is one of polygons."""
    return np.array([isinstance(one, list) and bool(one) for one in ground_truth.segmentations], dtype=bool)


def read_boxes(ground_truth: CocoGroundTruth, image: int, annotations: Ints) -> Objects:
    """The objects of an image with COCO's own boxes, in pixels, masks and keypoints."""
    keypoints = ground_truth.keypoints if ground_truth.has_person_keypoints else None
    boxes = ground_truth.boxes[annotations]
    return Objects(
        labels=ground_truth.category_index[annotations],
        boxes=np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1).astype(np.float32),
        outlines=np.empty((len(boxes), 0, 2), dtype=np.float32),
        masks=AnnotatedMasks(ground_truth, annotations, ground_truth.size_of(image)),
        keypoints=None if keypoints is None else keypoints[annotations].astype(np.float32),
    )


def _first_faults(rules: tuple[Rule, ...], ground_truth: CocoGroundTruth, left: Bools) -> tuple[Bools, dict[str, int]]:
    """Which rows of those `left` fulfil all rules, and how many are left out by each that leaves any out."""
    counts = {}
    for one in rules:
        fulfilled = left & one(ground_truth)
        counts[one.others] = int(left.sum() - fulfilled.sum())
        left = fulfilled
    return left, {others: count for others, count in counts.items() if count}


def _listed(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {others}" for others, count in left_out.items())
