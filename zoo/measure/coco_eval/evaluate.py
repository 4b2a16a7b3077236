"""COCO's average precision and recall from columns, with the same bits as pycocotools' `COCOeval`.

Source: https://cocodataset.org/#detection-eval and the behaviour of pycocotools 2.0.11, which the tests hold this
against. The stages: `ranking` orders detections, `overlap` finds candidates, `matching` assigns objects, `curves`
draws precision over recall.

Legend for shapes: D detections, G objects, K categories by ascending id (labels may have another order), A area
ranges (all, small, medium, large), T = 10 IoU thresholds, R = 101 recall thresholds, M limits of detections per image
and category.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoo.data.coco import CocoGroundTruth
from zoo.data.rle import areas
from zoo.errors import DataError, ZooError
from zoo.measure.coco_eval import IouType
from zoo.measure.coco_eval.area_iou_bits import AREA_RANGES, IOU_THRESHOLDS, bits_of_areas, inside
from zoo.measure.coco_eval.curves import Matched, accumulate
from zoo.measure.coco_eval.matching import Matches, match
from zoo.measure.coco_eval.overlap import box_pairs, mask_pairs
from zoo.measure.coco_eval.ranking import Ints, Ranking, order_by, rank_detections
from zoo.types import Rle

Floats = npt.NDArray[np.float64]

MAX_DETECTIONS = (1, 10, 100)

_LARGEST_TABLE = 1 << 20  # ids; COCO's images go up to 581,929


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DetectionColumns:
    """Detections of a whole data set, one array per field.

    Attributes:
        image_id: int64 (D,), the data set's ids.
        category_id: int64 (D,), the data set's ids.
        bbox: float64 (D, 4), x, y, width, height in pixels.
        score: float64 (D,), scores, usually in [0, 1].
        segmentation: D masks, or None for boxes only.
    """

    image_id: Ints
    category_id: Ints
    bbox: Floats
    score: Floats
    segmentation: list[Rle] | None = None

    def __len__(self) -> int:
        return len(self.score)

    def chosen(self, which: npt.NDArray[np.bool_]) -> DetectionColumns:
        """Some of the detections, by a mask (D,)."""
        masks = self.segmentation
        return DetectionColumns(
            image_id=self.image_id[which],
            category_id=self.category_id[which],
            bbox=self.bbox[which],
            score=self.score[which],
            segmentation=None if masks is None else [masks[i] for i in np.flatnonzero(which).tolist()],
        )

    def masks(self) -> list[Rle]:
        """The D masks.

        Raises:
            ZooError: there are none.
        """
        if self.segmentation is None:
            raise ZooError(
                "the detections have no masks", next_step="evaluate boxes only, or run a model that gives masks"
            )
        return self.segmentation


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CocoResult:
    """What COCO's evaluation gives. -1 stands where there is no object of that category and size.

    Attributes:
        precision: float64 (T, R, K, A, M), the best at this recall or above.
        recall: float64 (T, K, A, M), the highest that is reached.
        scores: float64 (T, R, K, A, M), the score at which a recall is reached.
        stats: float64 (12,), in [0, 1]: AP, AP50, AP75, AP small, medium, large, AR for each limit, AR small,
            medium, large.
    """

    precision: Floats
    recall: Floats
    scores: Floats
    stats: Floats

    @property
    def per_class_ap(self) -> Floats:
        """AP points (0 to 100) of each category, float64 (K,), all sizes, at the highest limit; -1 without objects."""
        precision = np.ascontiguousarray(self.precision[:, :, :, 0, -1])  # (T, R, K), summed in one order always
        return np.where(precision[0, 0] < 0, -1.0, precision.mean(axis=(0, 1)) * 100)

    def pr_curves(self, *thresholds: float) -> Floats:
        """Precision (K, R) over recall 0, 0.01 ... 1 of each category, the mean over some IoU thresholds.

        All sizes, at the highest limit; -1 for a category without objects.

        Args:
            thresholds: of COCO's ten; none means all of them.

        Raises:
            ValueError: COCO's evaluation has no such threshold.
        """
        at = np.isclose(IOU_THRESHOLDS, np.array(thresholds or IOU_THRESHOLDS)[:, None])  # (asked, T)
        if not at.any(axis=1).all():
            raise ValueError(f"no IoU thresholds {thresholds} among {IOU_THRESHOLDS}")
        curves: Floats = self.precision[at.any(axis=0), :, :, 0, -1].mean(axis=0)  # (R, K)
        return curves.T

    def mean_pr_curve(self, *thresholds: float) -> Floats:
        """The mean (R,) of `pr_curves` over the categories that have objects, zeros where none has.

        The mean of its R numbers is AP at those thresholds.

        Raises:
            ValueError: COCO's evaluation has no such threshold.
        """
        curves = self.pr_curves(*thresholds)
        counts = curves[:, 0] >= 0
        mean: Floats = curves[counts].mean(axis=0) if counts.any() else np.zeros(curves.shape[1])
        return mean


def evaluate(
    ground_truth: CocoGroundTruth,
    detections: DetectionColumns,
    *,
    iou_type: IouType,
    max_detections: Sequence[int] = MAX_DETECTIONS,
) -> CocoResult:
    """Average precision and recall of a data set.

    Detections of categories that the ground truth does not have are left out, as pycocotools does.

    Args:
        iou_type: whether boxes or masks are compared. Sizes of detections follow it: width times height, or pixels.
        max_detections: three limits of detections per image and category, ascending.

    Raises:
        DataError: a detection is of an image that the ground truth does not have.
        ZooError: a score or a box is not finite, or masks are asked for and not there.
    """
    return result_of(match_detections(ground_truth, detections, iou_type, max(max_detections)), max_detections)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MatchedDetections:
    """Detections of a data set and the objects that they found: what every curve is drawn from.

    Attributes:
        ranking: detections of known categories, in the order in which they count.
        scores: float64 (D,), in the order of the ranking.
        in_area: bool (A, D), in the same order, whether the detection's area lies in the range.
        found: those that found an object.
        target: int64 (D,), in the same order, the object that each has at IoU 0.5, crowds too, as a position in the
            ground truth; -1 for none.
        targets: the objects.
    """

    ranking: Ranking
    scores: Floats
    in_area: npt.NDArray[np.bool_]
    found: Matched
    target: Ints
    targets: Targets


def match_detections(
    ground_truth: CocoGroundTruth, detections: DetectionColumns, iou_type: IouType, limit: int = MAX_DETECTIONS[-1]
) -> MatchedDetections:
    """Match the detections of a data set to its objects, as `evaluate` does.

    Args:
        iou_type: whether boxes or masks are compared.
        limit: the highest number of detections per image and category that curves are drawn of.

    Raises:
        DataError, ZooError: as `evaluate` does.
    """
    image_index, category_index = _look_up(ground_truth, detections)
    ranking = rank_detections(
        image_index,
        category_index,
        detections.score,
        images=len(ground_truth),
        categories=len(ground_truth.category_ids),
    )
    targets = Targets.of(ground_truth)
    matches, candidates = _match(ground_truth, targets, detections, ranking, iou_type, limit)
    target = np.full(len(ranking.rank), -1)
    took = np.flatnonzero(matches.target >= 0)
    target[candidates[took]] = targets.source[matches.target[took]]
    return MatchedDetections(
        ranking=ranking,
        scores=detections.score[ranking.input_index],
        in_area=inside(_areas(detections, iou_type)[ranking.input_index]),
        found=_in_ranking(matches, candidates),
        target=target,
        targets=targets,
    )


def result_of(matched: MatchedDetections, max_detections: Sequence[int] = MAX_DETECTIONS) -> CocoResult:
    """Average precision and recall of matched detections.

    Args:
        max_detections: three limits, ascending, none above the one that the detections were matched by.
    """
    curves = accumulate(
        matched.ranking, matched.scores, matched.in_area, matched.found, matched.targets.positives, max_detections
    )
    return CocoResult(
        precision=curves.precision,
        recall=curves.recall,
        scores=curves.scores,
        stats=_summarize(curves.precision, curves.recall, max_detections),
    )


def _look_up(ground_truth: CocoGroundTruth, detections: DetectionColumns) -> tuple[Ints, Ints]:
    """Positions of the detections' images and, by ascending id, categories, (D,) each; K for an unknown category."""
    image_index = check(ground_truth, detections)
    known, category_index = _positions(detections.category_id, np.sort(ground_truth.category_ids))
    category_index[~known] = len(ground_truth.category_ids)
    return image_index, category_index


def check(ground_truth: CocoGroundTruth, detections: DetectionColumns) -> Ints:
    """See that detections can be evaluated, and give the positions of their images, (D,).

    Raises:
        DataError: a detection is of an image that the ground truth does not have.
        ZooError: a score or a box is not finite.
    """
    if not (np.isfinite(detections.score).all() and np.isfinite(detections.bbox).all()):
        raise ZooError(
            "a detection has a score or a box that is not a finite number",
            next_step="run with precision=fp32; if that does not help, look at the model's outputs",
        )
    known, image_index = _positions(detections.image_id, ground_truth.image_ids)
    if not known.all():
        stranger = detections.image_id[~known][0]
        raise DataError(
            f"a detection is of image {stranger}, which the annotations do not have",
            next_step="evaluate on the images that the detector was run on (same data.root, same data.limit)",
        )
    return image_index


def _positions(ids: Ints, ascending: Ints) -> tuple[npt.NDArray[np.bool_], Ints]:
    """Which ids are among the ascending ones, and where."""
    if ascending[0] >= 0 and ascending[-1] < _LARGEST_TABLE:  # reading a table is several times as fast as searching
        table = np.zeros(ascending[-1] + 1, dtype=np.int64)
        table[ascending] = np.arange(len(ascending))
        positions = table.take(ids, mode="clip")
    else:
        positions = np.minimum(np.searchsorted(ascending, ids), len(ascending) - 1)
    return ascending[positions] == ids, positions


def _areas(detections: DetectionColumns, iou_type: IouType) -> Floats:
    if iou_type == "bbox":
        return detections.bbox[:, 2] * detections.bbox[:, 3]
    return areas(detections.masks())


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """The objects by group, in each as in the file.

    Attributes:
        source: (G,), positions in the ground truth.
        group: (G,), category * images + image, as `ranking` numbers them; ascending.
        in_group: (groups,), how many objects each group has.
        is_crowd: bool (G,), whether the object is a crowd.
        ignored: bool (A, G), crowds and what lies outside the area range.
        positives: int64 (A, K), how many objects count.
    """

    source: Ints
    group: Ints
    in_group: Ints
    is_crowd: npt.NDArray[np.bool_]
    ignored: npt.NDArray[np.bool_]
    positives: Ints

    @classmethod
    def of(cls, ground_truth: CocoGroundTruth) -> Targets:
        images, categories = len(ground_truth), len(ground_truth.category_ids)
        by_id = ground_truth.category_ids.argsort().argsort()  # (K,), where each category stands when ids ascend
        category_index = by_id[ground_truth.category_index]
        group = category_index * images + ground_truth.image_index
        source = order_by(group)
        is_crowd = ground_truth.is_crowd[source]
        ignored = is_crowd | ~inside(ground_truth.areas[source])
        category = category_index[source]
        return cls(
            source=source,
            group=group[source],
            in_group=np.bincount(group, minlength=images * categories),
            is_crowd=is_crowd,
            ignored=ignored,
            positives=np.stack([np.bincount(category[~skip], minlength=categories) for skip in ignored]),
        )


def _match(
    ground_truth: CocoGroundTruth,
    targets: Targets,
    detections: DetectionColumns,
    ranking: Ranking,
    iou_type: IouType,
    limit: int,
) -> tuple[Matches, Ints]:
    """What the detections that compete for an object find, and their positions in the ranking, (E,)."""
    # Only the best of each group that has objects can find one.
    competes = (targets.in_group[ranking.group] > 0) & (ranking.rank < limit)
    candidates = ranking.by_group[competes[ranking.by_group]]
    group, input_index = ranking.group[candidates], ranking.input_index[candidates]
    count = targets.in_group[group]
    first = (np.cumsum(targets.in_group) - targets.in_group)[group]
    if iou_type == "bbox":
        boxes, target_boxes = detections.bbox[input_index], ground_truth.boxes[targets.source]
        pairs = box_pairs(boxes, target_boxes, targets.is_crowd, first, count)
    else:
        given = detections.masks()
        masks = [given[i] for i in input_index.tolist()]
        target_masks = [ground_truth.rle(int(i)) for i in targets.source]
        pairs = mask_pairs(masks, target_masks, targets.is_crowd, first, count)
    return match(pairs, group, bits_of_areas(targets.ignored), targets.is_crowd), candidates


def _in_ranking(matches: Matches, candidates: Ints) -> Matched:
    """Those of the candidates that have a match, in the order of the ranking."""
    hit = np.flatnonzero(matches.matched)
    hit = hit[order_by(candidates[hit])]
    return Matched(position=candidates[hit], matched=matches.matched[hit], ignored=matches.ignored[hit])


def _summarize(precision: Floats, recall: Floats, max_detections: Sequence[int]) -> Floats:
    """COCO's 12 numbers, (12,)."""
    highest = len(max_detections) - 1
    sizes = range(1, len(AREA_RANGES))
    # pycocotools takes the first number at 100 detections, whatever the limits are: -1 where 100 is not among them.
    at_100 = [m for m, limit in enumerate(max_detections) if limit == 100]
    return np.array(
        [
            _mean(precision[:, :, :, 0, at_100]),
            *(_mean(precision[threshold == IOU_THRESHOLDS, :, :, 0, highest]) for threshold in (0.5, 0.75)),
            *(_mean(precision[:, :, :, a, highest]) for a in sizes),
            *(_mean(recall[:, :, 0, m]) for m in range(len(max_detections))),
            *(_mean(recall[:, :, a, highest]) for a in sizes),
        ]
    )


def _mean(values: Floats) -> float:
    """The mean of what is not -1; -1 where nothing is left."""
    values = values[values > -1]
    return float(np.mean(values)) if values.size else -1.0
