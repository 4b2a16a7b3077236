"""COCO's average precision and recall from columns, with the same bits as pycocotools' `COCOeval`.

Source: https://cocodataset.org/#detection-eval and the behaviour of pycocotools 2.0.11, which the tests hold this
against. The stages: `ranking` orders detections, `overlap` finds candidates, `matching` assigns objects, `curves`
draws precision over recall.

Legend for shapes: D detections, G objects, K categories by ascending id (labels may have another order), A area
ranges (all, small, medium, large; keypoints without small), T = 10 IoU thresholds, R = 101 recall thresholds, M limits
of detections per image and category, S numbers of a summary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoo.coco_tasks import TASKS, CocoTask, IouType
from zoo.data.coco import CocoGroundTruth
from zoo.errors import DataError, ZooError
from zoo.measure.coco_eval.area_iou_bits import IOU_THRESHOLDS, bits_of_areas, inside
from zoo.measure.coco_eval.columns import DetectionColumns
from zoo.measure.coco_eval.compared import Candidates, detection_areas
from zoo.measure.coco_eval.curves import Matched, accumulate
from zoo.measure.coco_eval.matching import Matches, match
from zoo.measure.coco_eval.ranking import Floats, Ints, Places, Ranking, order_by, rank_detections

_LARGEST_TABLE = 1 << 20  # ids; COCO's images go up to 581,929


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CocoResult:
    """What COCO's evaluation gives. -1 stands where there is no object of that category and size.

    Attributes:
        precision: float64 (T, R, K, A, M), the best at this recall or above.
        recall: float64 (T, K, A, M), the highest that is reached.
        scores: float64 (T, R, K, A, M), the score at which a recall is reached.
        stats: float64 (S,), in [0, 1], as `CocoTask.stats` names them.
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
    max_detections: Sequence[int] | None = None,
) -> CocoResult:
    """Average precision and recall of a data set.

    Detections of categories that the ground truth does not have are left out, as pycocotools does.

    Args:
        iou_type: what is compared. Sizes of detections follow it, see `detection_areas`.
        max_detections: limits of detections per image and category, ascending, three of them for boxes and masks; None:
            COCO's own.

    Raises:
        DataError: a detection is of an image that the ground truth does not have, or that has no such annotations.
        ZooError: a number is not finite, or what is compared is not there.
    """
    limits = max_detections or TASKS[iou_type].max_detections
    return result_of(match_detections(ground_truth, detections, iou_type, max(limits)), limits)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MatchedDetections:
    """Detections of a data set and the objects that they found: what every curve is drawn from.

    Attributes:
        task: what was compared.
        limit: the highest number of detections per image and category that count.
        ranking: detections of known categories, in the order in which they count.
        scores: float64, of all detections, in the order of the input.
        in_area: bool (A, D), in the order of the ranking, whether the detection's area lies in the range.
        found: those that found an object.
        taker: int32 (N,), those that have an object at IoU 0.5, crowds too: positions in the ranking.
        taken: (N,), that object of each, as a position in the ground truth.
        targets: the objects.
    """

    task: CocoTask
    limit: int
    ranking: Ranking
    scores: Floats
    in_area: npt.NDArray[np.bool_]
    found: Matched
    taker: Places
    taken: Ints
    targets: Targets

    @property
    def target(self) -> Ints:
        """The object of each detection in the order of the ranking (D,), as in `taken`; -1 for none."""
        target = np.full(len(self.ranking.rank), -1, dtype=np.int64)
        target[self.taker] = self.taken
        return target


def match_detections(
    ground_truth: CocoGroundTruth, detections: DetectionColumns, iou_type: IouType, limit: int | None = None
) -> MatchedDetections:
    """Match the detections of a data set to its objects, as `evaluate` does.

    Args:
        iou_type: what is compared.
        limit: the highest number of detections per image and category that curves are drawn of; None: COCO's own.

    Raises:
        DataError, ZooError: as `evaluate` does.
    """
    task = TASKS[iou_type]
    limit = task.max_per_image if limit is None else limit
    ranking = rank_detections(
        *_look_up(ground_truth, detections),
        detections.score,
        images=len(ground_truth),
        categories=len(ground_truth.category_ids),
    )
    targets = Targets.of(ground_truth, task)
    matches, candidates, areas = _match(ground_truth, targets, detections, ranking, task, limit)
    took = np.flatnonzero(matches.target >= 0)
    return MatchedDetections(
        task=task,
        limit=limit,
        ranking=ranking,
        scores=detections.score,
        in_area=inside(areas[ranking.input_index], ("all", *task.sizes)),
        found=_in_ranking(matches, candidates),
        taker=candidates[took],
        taken=targets.source[matches.target[took]],
        targets=targets,
    )


def result_of(matched: MatchedDetections, max_detections: Sequence[int] | None = None) -> CocoResult:
    """Average precision and recall of matched detections.

    Args:
        max_detections: as in `evaluate`, none above the limit that the detections were matched by.
    """
    max_detections = max_detections or matched.task.max_detections
    curves = accumulate(
        matched.ranking, matched.scores, matched.in_area, matched.found, matched.targets.positives, max_detections
    )
    return CocoResult(
        precision=curves.precision,
        recall=curves.recall,
        scores=curves.scores,
        stats=_summarize(matched.task, curves.precision, curves.recall, max_detections),
    )


def _look_up(ground_truth: CocoGroundTruth, detections: DetectionColumns) -> tuple[Places, Places]:
    """Positions of the detections' images and, by ascending id, categories, (D,) each; K for an unknown category."""
    image_index = check(ground_truth, detections)
    known, category_index = _positions(detections.category_id, np.sort(ground_truth.category_ids))
    category_index[~known] = len(ground_truth.category_ids)
    return image_index, category_index


def check(ground_truth: CocoGroundTruth, detections: DetectionColumns) -> Places:
    """See that detections can be evaluated, and give the positions of their images, (D,).

    Raises:
        DataError: a detection is of an image that the ground truth does not have.
        ZooError: a score, a box or a keypoint is not finite.
    """
    numbers = {"score": detections.score, "box": detections.bbox, "keypoint": detections.keypoints}
    bad = [name for name, column in numbers.items() if column is not None and not np.isfinite(column).all()]
    if bad:
        raise ZooError(
            f"a detection has a {bad[0]} that is not a finite number",
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


def _positions(ids: Ints, ascending: Ints) -> tuple[npt.NDArray[np.bool_], Places]:
    """Which ids are among the ascending ones, and where."""
    if ascending[0] >= 0 and ascending[-1] < _LARGEST_TABLE:  # reading a table is several times as fast as searching
        table = np.zeros(ascending[-1] + 1, dtype=np.int32)
        table[ascending] = np.arange(len(ascending))
        positions = table.take(ids, mode="clip")
    else:
        positions = np.minimum(np.searchsorted(ascending, ids), len(ascending) - 1).astype(np.int32)
    return ascending[positions] == ids, positions


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """The objects by group, in each as in the file.

    Attributes:
        source: (G,), positions in the ground truth.
        group: (G,), category * images + image, as `ranking` numbers them; ascending.
        in_group: (groups,), how many objects each group has.
        is_crowd: bool (G,), whether the object is a crowd.
        ignored: bool (A, G), what is never asked for (`CocoGroundTruth.uncounted`) and what lies outside the range.
        positives: int64 (A, K), how many objects count.
    """

    source: Ints
    group: Ints
    in_group: Places
    is_crowd: npt.NDArray[np.bool_]
    ignored: npt.NDArray[np.bool_]
    positives: Ints

    @classmethod
    def of(cls, ground_truth: CocoGroundTruth, task: CocoTask) -> Targets:
        images, categories = len(ground_truth), len(ground_truth.category_ids)
        by_id = ground_truth.category_ids.argsort().argsort()  # (K,), where each category stands when ids ascend
        category_index = by_id[ground_truth.category_index]
        group = category_index * images + ground_truth.image_index
        source = order_by(group)
        uncounted = ground_truth.uncounted(task.iou_type)[source]
        ignored = uncounted | ~inside(ground_truth.areas[source], ("all", *task.sizes))
        category = category_index[source]
        return cls(
            source=source,
            group=group[source],
            in_group=np.bincount(group, minlength=images * categories).astype(np.int32),
            is_crowd=ground_truth.is_crowd[source],
            ignored=ignored,
            positives=np.stack([np.bincount(category[~skip], minlength=categories) for skip in ignored]),
        )


def _match(
    ground_truth: CocoGroundTruth,
    targets: Targets,
    detections: DetectionColumns,
    ranking: Ranking,
    task: CocoTask,
    limit: int,
) -> tuple[Matches, Places, Floats]:
    """What the detections that compete for an object find, and their positions in the ranking, (E,).

    Also the areas of all detections, (D,).
    """
    # Only the best of each group that has objects can find one.
    competes = (targets.in_group[ranking.group] > 0) & (ranking.rank < limit)
    competing = ranking.by_group[competes[ranking.by_group]]
    group = ranking.group[competing].astype(np.int64)
    found = ranking.input_index[competing]
    pairs = Candidates(
        detections=found,
        objects=targets.source,
        is_crowd=targets.is_crowd,
        first=(np.cumsum(targets.in_group, dtype=np.int32) - targets.in_group)[group].astype(np.int64),
        count=targets.in_group[group].astype(np.int64),
    ).pairs(ground_truth, detections, task.iou_type)
    areas = detection_areas(detections, task.iou_type, found, pairs.areas)
    return match(pairs, group, bits_of_areas(targets.ignored), targets.is_crowd), competing, areas


def _in_ranking(matches: Matches, candidates: Places) -> Matched:
    """Those of the candidates that have a match, in the order of the ranking."""
    hit = np.flatnonzero(matches.matched)
    hit = hit[order_by(candidates[hit])]
    return Matched(position=candidates[hit], matched=matches.matched[hit], ignored=matches.ignored[hit])


def _summarize(task: CocoTask, precision: Floats, recall: Floats, max_detections: Sequence[int]) -> Floats:
    """COCO's numbers, (S,)."""
    # pycocotools takes some numbers at COCO's own limit, whatever the limits are: -1 where it is not among them. Of
    # boxes and masks that is the first alone, of keypoints all.
    own = [m for m, limit in enumerate(max_detections) if limit == task.max_per_image]
    halves = [threshold == IOU_THRESHOLDS for threshold in (0.5, 0.75)]
    sizes = range(1, len(task.sizes) + 1)
    highest = own if task.iou_type == "keypoints" else [len(max_detections) - 1]
    precisions = [
        precision[:, :, :, 0, own],
        *(precision[half][:, :, :, 0, highest] for half in halves),
        *(precision[:, :, :, a, highest] for a in sizes),
    ]
    by_size = [recall[:, :, a, highest] for a in sizes]
    if task.iou_type == "keypoints":
        recalls = [recall[:, :, 0, own], *(recall[half][:, :, 0, own] for half in halves)]
    else:
        recalls = [recall[:, :, 0, m] for m in range(len(max_detections))]
    return np.array([_mean(values) for values in (*precisions, *recalls, *by_size)])


def _mean(values: Floats) -> float:
    """The mean of what is not -1; -1 where nothing is left."""
    values = values[values > -1]
    return float(np.mean(values)) if values.size else -1.0
