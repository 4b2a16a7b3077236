"""What kinds of errors a detector makes and what each kind costs, in the manner of TIDE; and its mean PR curves.

Source of the kinds: Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors" (ECCV 2020),
section 2, with its thresholds: an overlap of 0.5 is a hit, one below 0.1 is background. The numbers need not be that
toolbox's own: matching, crowds and limits of detections are those of COCO's evaluation, as in `evaluate`.

Legend for shapes: D detections, G objects, P pairs, R = 101 recall thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from zoo.data.coco import CocoGroundTruth
from zoo.measure.coco_eval.area_iou_bits import IOU_THRESHOLDS
from zoo.measure.coco_eval.evaluate import NOTHING, CocoResult, DetectionColumns, check, evaluate, objects_found
from zoo.measure.coco_eval.overlap import Pairs, box_pairs
from zoo.measure.coco_eval.ranking import Floats, Ints

ErrorKind = Literal["classification", "localisation", "both", "duplicate", "background", "missed"]
"""Classification: on an object of another class. Localisation: near an object of its class. Both: near an object of
another class. Duplicate: on an object that a detection of a higher score has. Background: near no object. Missed: an
object that no detection has, nor would have if its class or its place were put right."""

ERROR_KINDS: tuple[ErrorKind, ...] = get_args(ErrorKind)

BACKGROUND_IOU = 0.1
"""Overlap from which a detection is near an object."""

HIT_IOU = float(IOU_THRESHOLDS[0])
"""Overlap from which it is on it."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DetectionErrors:
    """The errors of a detector in a data set, by boxes.

    Attributes:
        ap50: AP at IoU 0.5, in points.
        kind: int64 (D,), position in `ERROR_KINDS` of each false positive, -1 for every other detection.
        target: int64 (D,), the object that it is a hit on, or that a classification or localisation error is about, as
            a position in the ground truth; -1 for none.
        missed: bool (G,), the objects that were missed.
        cost: kind -> points of AP50 that would be gained, were all errors of this kind alone put right.
    """

    ap50: float
    kind: Ints
    target: Ints
    missed: npt.NDArray[np.bool_]
    cost: Mapping[ErrorKind, float]

    @property
    def counts(self) -> dict[ErrorKind, int]:
        """How many errors there are of each kind."""
        of_detections = np.bincount(self.kind[self.kind >= 0], minlength=len(ERROR_KINDS)).tolist()
        counts = dict(zip(ERROR_KINDS, of_detections, strict=True))
        return {**counts, "missed": int(self.missed.sum())}


def find_errors(ground_truth: CocoGroundTruth, detections: DetectionColumns) -> DetectionErrors:
    """Sort the errors of a detector by kind, and say what each kind costs.

    A false positive is of the first kind that it fits: localisation, classification, duplicate, background, both.

    Raises:
        DataError: a detection is of an image that the ground truth does not have.
        ZooError: a score or a box is not finite.
    """
    found = objects_found(ground_truth, detections)
    wrong = np.flatnonzero(found == NOTHING)
    near = _Near.of(ground_truth, detections, wrong)
    kind = np.full(len(detections), -1)
    kind[wrong] = near.kinds(found)
    target = np.maximum(found, -1)
    for position, about in enumerate((near.other, near.same)):  # classification, localisation
        of_kind = kind[wrong] == position
        target[wrong[of_kind]] = about[of_kind]
    missed = ~ground_truth.is_crowd
    missed[target[target >= 0]] = False
    base = _ap50(ground_truth, detections)
    cost = {
        name: _ap50(*_put_right(ground_truth, detections, name, kind, found, target, missed)) - base
        for name in ERROR_KINDS
    }
    return DetectionErrors(ap50=base, kind=kind, target=target, missed=missed, cost=cost)


def pr_curve(result: CocoResult, iou: float) -> Floats:
    """Precision (R,) over recall 0, 0.01 ... 1 at one IoU threshold, the mean over the classes that have objects.

    Raises:
        ValueError: COCO's evaluation has no such threshold.
    """
    at = np.flatnonzero(np.isclose(IOU_THRESHOLDS, iou))
    if not at.size:
        raise ValueError(f"no IoU threshold {iou} among {IOU_THRESHOLDS}")
    precision = result.precision[at[0], :, :, 0, -1]  # (R, K), all sizes, most detections
    counts = precision[0] >= 0
    return precision[:, counts].mean(axis=1) if counts.any() else np.zeros(len(precision))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Near:
    """Of each false positive (N,) the nearest object of its class and of all others; -1 and overlap 0 for none."""

    same: Ints
    same_iou: Floats
    other: Ints
    other_iou: Floats
    pairs: Pairs
    is_same: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, ground_truth: CocoGroundTruth, detections: DetectionColumns, rows: Ints) -> _Near:
        objects = np.flatnonzero(~ground_truth.is_crowd)  # by image, as the annotations are
        per_image = np.bincount(ground_truth.image_index[objects], minlength=len(ground_truth))
        image = check(ground_truth, detections)[rows]
        count = per_image[image]
        having = np.flatnonzero(count)
        first = (np.cumsum(per_image) - per_image)[image]
        boxes, targets = detections.bbox[rows[having]], ground_truth.boxes[objects]
        crowds = np.zeros(len(objects), dtype=bool)
        pairs = box_pairs(boxes, targets, crowds, first[having], count[having], least=BACKGROUND_IOU)
        pairs = Pairs(detection=having[pairs.detection], target=objects[pairs.target], iou=pairs.iou)
        category = ground_truth.category_ids[ground_truth.category_index[pairs.target]]
        is_same = category == detections.category_id[rows][pairs.detection]
        same, same_iou = _nearest(pairs, is_same, len(rows))
        other, other_iou = _nearest(pairs, ~is_same, len(rows))
        return cls(same=same, same_iou=same_iou, other=other, other_iou=other_iou, pairs=pairs, is_same=is_same)

    def kinds(self, found: Ints) -> Ints:
        """The kind of each false positive, (N,), given the objects that the hits have."""
        on_used = self.is_same & (self.pairs.iou >= HIT_IOU) & np.isin(self.pairs.target, found)
        duplicate = np.zeros(len(self.same), dtype=bool)
        duplicate[self.pairs.detection[on_used]] = True
        tests: dict[ErrorKind, npt.NDArray[np.bool_]] = {
            "localisation": (self.same >= 0) & (self.same_iou < HIT_IOU),
            "classification": self.other_iou >= HIT_IOU,
            "duplicate": duplicate,
            "background": (self.same < 0) & (self.other < 0),
        }
        return np.select(list(tests.values()), [ERROR_KINDS.index(name) for name in tests], ERROR_KINDS.index("both"))


def _nearest(pairs: Pairs, where: npt.NDArray[np.bool_], rows: int) -> tuple[Ints, Floats]:
    """Of each detection (rows,) the object of the highest IoU among some pairs (P,), and that IoU."""
    target, iou = np.full(rows, -1), np.zeros(rows)
    chosen = np.flatnonzero(where)
    chosen = chosen[np.lexsort((-pairs.target[chosen], pairs.iou[chosen]))]  # the last to be written is the nearest
    target[pairs.detection[chosen]] = pairs.target[chosen]
    iou[pairs.detection[chosen]] = pairs.iou[chosen]
    return target, iou


def _put_right(
    ground_truth: CocoGroundTruth,
    detections: DetectionColumns,
    name: ErrorKind,
    kind: Ints,
    found: Ints,
    target: Ints,
    missed: npt.NDArray[np.bool_],
) -> tuple[CocoGroundTruth, DetectionColumns]:
    """The data set and the detections without one kind of error.

    A wrong class or place is put right where its object is still free, for the detection of the highest score;
    whatever else is wrong disappears.
    """
    if name == "missed":
        return ground_truth.without(missed), detections
    wrong = kind == ERROR_KINDS.index(name)
    category, boxes = detections.category_id.copy(), detections.bbox.copy()
    category[wrong] = ground_truth.category_ids.max() + 1  # detections of an unknown category are left out
    if name in ("classification", "localisation"):
        rows = np.flatnonzero(wrong & ~np.isin(target, found))
        rows = rows[np.argsort(-detections.score[rows], kind="stable")]
        rows = rows[np.unique(target[rows], return_index=True)[1]]  # the best of each object
        category[rows] = ground_truth.category_ids[ground_truth.category_index[target[rows]]]
        boxes[rows] = ground_truth.boxes[target[rows]]
    return ground_truth, replace(detections, category_id=category, bbox=boxes)


def _ap50(ground_truth: CocoGroundTruth, detections: DetectionColumns) -> float:
    """AP at IoU 0.5 of boxes, in points; 0 where there is nothing to find."""
    if not len(ground_truth.image_index):
        return 0.0
    return max(float(evaluate(ground_truth, detections, iou_type="bbox").stats[1]), 0.0) * 100
