"""What kinds of errors a detector makes and what each kind costs, in the manner of TIDE.

Source of the kinds: Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors" (ECCV 2020),
sections 2.2 and 2.3, with its thresholds: an overlap of 0.5 is a hit, one below 0.1 is background. Matching, crowds,
limits and means are those of COCO's evaluation, as in `evaluate`; docs/errors.md says where that differs from the
authors' own toolbox.

Legend for shapes: D detections, N false positives, G objects of the ground truth, P pairs, K categories by ascending
id.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from zoo.coco_tasks import IouType
from zoo.data.coco import CocoGroundTruth
from zoo.measure.coco_eval.area_iou_bits import IOU_THRESHOLDS
from zoo.measure.coco_eval.columns import DetectionColumns
from zoo.measure.coco_eval.compared import Candidates
from zoo.measure.coco_eval.curves import Matched, accumulate
from zoo.measure.coco_eval.evaluate import MatchedDetections, match_detections
from zoo.measure.coco_eval.overlap import Pairs
from zoo.measure.coco_eval.ranking import Floats, Ints, order_by, rank_detections

Bools = npt.NDArray[np.bool_]

ErrorKind = Literal["classification", "localisation", "both", "duplicate", "background", "missed"]

ERROR_KINDS: tuple[ErrorKind, ...] = get_args(ErrorKind)

MEANINGS: Mapping[ErrorKind, str] = {
    "classification": "on an object of another class",
    "localisation": "on an object of its class, but too far off",
    "both": "near an object of another class",
    "duplicate": "on an object that a detection of a higher score has",
    "background": "near no object",
    "missed": "an object that no detection has, nor is wrong about in class or place alone",
}

HIT_IOU = float(IOU_THRESHOLDS[0])
"""Overlap from which a detection is on an object."""

BACKGROUND_IOU = 0.1
"""Overlap from which a detection is near an object."""

HIT, NOT_COUNTED = -1, -2
"""What stands for a kind where a detection is right, and where it is neither right nor wrong."""

_NO_OBJECT = -1

_FIXABLE: tuple[ErrorKind, ...] = ("classification", "localisation")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DetectionErrors:
    """The errors of a detector in a data set.

    Attributes:
        kind: int64 (D,), position in `ERROR_KINDS` of each false positive; `HIT`, or `NOT_COUNTED` for what is on a
            crowd, beyond COCO's limit in an image and category, or of a category that the data does not have.
        target: int64 (D,), the object that a hit has, or that a classification or localisation error is about, as a
            position in the ground truth; -1 for none.
        missed: bool (G,), the objects that were missed.
        ap50: AP at IoU 0.5, in points; None where the ground truth has no objects.
        cost: kind -> points of AP50 that would be gained were all errors of this kind alone put right; at least 0.
    """

    kind: Ints
    target: Ints
    missed: Bools
    ap50: float | None
    cost: Mapping[ErrorKind, float]
    _oracle: _Oracle = field(repr=False)

    @property
    def hits(self) -> int:
        """How many detections are right."""
        return int((self.kind == HIT).sum())

    @property
    def counts(self) -> dict[ErrorKind, int]:
        """How many errors there are of each kind."""
        of_detections = np.bincount(self.kind[self.kind >= 0], minlength=len(ERROR_KINDS)).tolist()
        counts = dict(zip(ERROR_KINDS, of_detections, strict=True))
        return {**counts, "missed": int(self.missed.sum())}

    def ap50_without(self, *kinds: ErrorKind) -> float | None:
        """AP50 in points were all errors of some kinds put right; None where the ground truth has no objects.

        A wrong class or place is put right where its object is still free, for the detection of the highest score of
        all that are wrong about it, of either kind; every other false positive disappears, and a missed object is not
        asked for. A class all of whose objects were missed then has an AP of 100 where no detection of it is left, of
        0 otherwise.
        """
        return self._oracle.ap50(self.kind, self.target, self.missed, kinds)


def find_errors(
    ground_truth: CocoGroundTruth, detections: DetectionColumns, *, iou_type: IouType = "bbox"
) -> DetectionErrors:
    """Sort the errors of a detector by kind, and say what each kind costs.

    A false positive is of the first kind that it fits: localisation, classification, duplicate, background, both. It is
    a localisation error by the nearest object of its class, and a classification error by the nearest of all others.

    Args:
        ground_truth: annotations; crowds are no objects, nor are persons without keypoints where these are compared.
        detections: in their images.
        iou_type: what is compared; thresholds of an overlap are those of OKS for keypoints.

    Raises:
        DataError: a detection is of an image that the ground truth does not have.
        ZooError: a number is not finite, or what is compared is not there.
    """
    matched = match_detections(ground_truth, detections, iou_type)
    uncounted = ground_truth.uncounted(iou_type)
    found = _objects_found(matched, uncounted, len(detections))
    oracle = _Oracle.of(matched, ground_truth, detections, uncounted)
    wrong = np.flatnonzero(found == _NO_OBJECT)
    wrong = wrong[order_by(oracle.image[wrong])]
    kind = np.where(found >= 0, HIT, NOT_COUNTED)
    kind[wrong], about = _sort(_near(ground_truth, detections, oracle, wrong, iou_type), len(wrong))
    target = np.maximum(found, -1)
    target[wrong] = about
    missed = ~uncounted
    missed[target[target >= 0]] = False
    ap50 = oracle.ap50(kind, target, missed, ())
    gained = {name: oracle.ap50(kind, target, missed, (name,)) for name in ERROR_KINDS}
    cost = {name: 0.0 if value is None or ap50 is None else value - ap50 for name, value in gained.items()}
    return DetectionErrors(kind=kind, target=target, missed=missed, ap50=ap50, cost=cost, _oracle=oracle)


def _objects_found(matched: MatchedDetections, uncounted: Bools, detections: int) -> Ints:
    """The object that each detection has, int64 (D,), `_NO_OBJECT` for a false positive, or `NOT_COUNTED`."""
    target, ranking = matched.target, matched.ranking
    counted = np.where((target >= 0) & uncounted[target], NOT_COUNTED, target) if len(uncounted) else target
    found = np.full(detections, NOT_COUNTED)  # those of unknown categories are not in the ranking
    found[ranking.input_index] = np.where(ranking.rank < matched.limit, counted, NOT_COUNTED)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _NearPairs:
    """False positives and objects of their image that are near each other, of any class.

    Attributes:
        pairs: positions among the false positives, and in the ground truth.
        is_same: bool (P,), whether both are of one class.
    """

    pairs: Pairs
    is_same: Bools


def _near(
    ground_truth: CocoGroundTruth, detections: DetectionColumns, oracle: _Oracle, rows: Ints, iou_type: IouType
) -> _NearPairs:
    """What is near detections (N,), given by their positions, image by image."""
    objects = np.flatnonzero(~oracle.uncounted)  # by image, as the annotations are
    per_image = np.bincount(ground_truth.image_index[objects], minlength=len(ground_truth))
    image = oracle.image[rows]
    having = np.flatnonzero(per_image[image])  # false positives in images with objects
    first, count = (np.cumsum(per_image) - per_image)[image[having]], per_image[image[having]]
    near = Candidates(
        detections=rows[having], objects=objects, is_crowd=np.zeros(len(objects), dtype=bool), first=first, count=count
    )
    pairs = near.pairs(ground_truth, detections, iou_type, BACKGROUND_IOU)
    pairs = Pairs(detection=having[pairs.detection], target=objects[pairs.target], iou=pairs.iou)
    is_same = oracle.object_category[pairs.target] == oracle.category[rows[pairs.detection]]
    return _NearPairs(pairs=pairs, is_same=is_same)


def _sort(near: _NearPairs, rows: int) -> tuple[Ints, Ints]:
    """The kind of each false positive (N,), and the object that it is about, -1 for none.

    Args:
        near: the objects near them.
        rows: number of false positives.
    """
    pairs = near.pairs
    same, same_iou = _nearest(pairs, near.is_same, rows)
    other, other_iou = _nearest(pairs, ~near.is_same, rows)
    tests: dict[ErrorKind, Bools] = {
        "localisation": (same >= 0) & (same_iou < HIT_IOU),
        "classification": other_iou >= HIT_IOU,
        "duplicate": same_iou >= HIT_IOU,  # it would be a hit, had not another detection the object
        "background": (same < 0) & (other < 0),
    }
    which = [ERROR_KINDS.index(name) for name in tests]
    kind = np.select(list(tests.values()), which, ERROR_KINDS.index("both"))
    about = np.select([kind == ERROR_KINDS.index(name) for name in _FIXABLE], [other, same], -1)
    return kind, about


def _nearest(pairs: Pairs, where: Bools, rows: int) -> tuple[Ints, Floats]:
    """Of each detection (rows,) the object of the highest IoU among some pairs (P,), and that IoU; -1, 0 for none."""
    target, iou = np.full(rows, -1), np.zeros(rows)
    chosen = np.flatnonzero(where)
    chosen = chosen[np.lexsort((-pairs.target[chosen], pairs.iou[chosen]))]  # the last to be written is the nearest
    target[pairs.detection[chosen]] = pairs.target[chosen]
    iou[pairs.detection[chosen]] = pairs.iou[chosen]
    return target, iou


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Oracle:
    """What AP50 would be without some errors: nothing is matched anew, as what is put right takes a free object only.

    Attributes:
        images: number of images.
        categories: number of categories, K.
        image: int64 (D,), positions of the detections' images; -1 where the category is unknown.
        category: int64 (D,), positions of their categories by ascending id, likewise.
        score: float64 (D,), their scores.
        object_category: int64 (G,), positions of the objects' categories by ascending id.
        uncounted: bool (G,), objects that no evaluation asks for, such as crowds.
    """

    images: int
    categories: int
    image: Ints
    category: Ints
    score: Floats
    object_category: Ints
    uncounted: Bools

    @classmethod
    def of(
        cls,
        matched: MatchedDetections,
        ground_truth: CocoGroundTruth,
        detections: DetectionColumns,
        uncounted: Bools,
    ) -> _Oracle:
        by_id = ground_truth.category_ids.argsort().argsort()  # (K,), where each category stands when ids ascend
        image, category = np.full((2, len(detections)), -1)
        category[matched.ranking.input_index], image[matched.ranking.input_index] = np.divmod(
            matched.ranking.group, len(ground_truth)
        )
        return cls(
            images=len(ground_truth),
            categories=len(by_id),
            image=image,
            category=category,
            score=detections.score,
            object_category=by_id[ground_truth.category_index],
            uncounted=uncounted,
        )

    def ap50(self, kind: Ints, target: Ints, missed: Bools, kinds: Collection[ErrorKind]) -> float | None:
        """AP50 in points without errors of some kinds; the rest as `DetectionErrors` has it."""
        if self.uncounted.all():
            return None
        category, hit = self.category.copy(), kind == HIT
        right = self._put_right(kind, target, kinds)
        category[right], hit[right] = self.object_category[target[right]], True
        gone = np.isin(kind, [ERROR_KINDS.index(name) for name in kinds]) & ~hit
        kept = np.flatnonzero((kind != NOT_COUNTED) & ~gone)
        asked = ~(self.uncounted | missed) if "missed" in kinds else ~self.uncounted
        positives = np.bincount(self.object_category[asked], minlength=self.categories)
        return self._ap(self.image[kept], category[kept], self.score[kept], hit[kept], positives)

    def _put_right(self, kind: Ints, target: Ints, kinds: Collection[ErrorKind]) -> Ints:
        """Those of the detections that become hits; an object that is free is for the best score of both kinds."""
        fixable = [ERROR_KINDS.index(name) for name in _FIXABLE]
        rows = np.flatnonzero(np.isin(kind, fixable) & ~np.isin(target, target[kind == HIT]))
        rows = rows[np.argsort(-self.score[rows], kind="stable")]
        rows = rows[np.unique(target[rows], return_index=True)[1]]
        return rows[np.isin(kind[rows], [ERROR_KINDS.index(name) for name in kinds])]

    def _ap(self, image: Ints, category: Ints, score: Floats, hit: Bools, positives: Ints) -> float:
        """AP in points of detections that are hits or false.

        Args:
            positives: (K,), how many objects are asked for.
        """
        ranking = rank_detections(image, category, score, images=self.images, categories=self.categories)
        position = np.flatnonzero(hit[ranking.input_index])
        bits = np.ones_like(position)  # of the area range "all" and the lowest threshold
        found = Matched(position=position, matched=bits, ignored=np.zeros_like(bits))
        everywhere = np.ones((1, len(image)), dtype=bool)
        no_limit = (len(image) + 1,)
        curves = accumulate(ranking, score, everywhere, found, positives[None], no_limit)
        ap = curves.precision[0, :, :, 0, 0].mean(axis=0)  # (K,)
        # A class of which no object is asked for any more: as right as its detections, none of which is a hit.
        ap = np.where(positives > 0, ap, np.diff(ranking.first_of_category) == 0)
        having = np.bincount(self.object_category[~self.uncounted], minlength=self.categories) > 0
        return float(ap[having].mean()) * 100
