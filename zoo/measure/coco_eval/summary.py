"""COCO's numbers of detections, in points, as records and tables name them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zoo.coco_tasks import TASKS, IouType
from zoo.data.coco import CocoGroundTruth
from zoo.measure.coco_eval.columns import DetectionColumns
from zoo.measure.coco_eval.evaluate import CocoResult, evaluate
from zoo.measure.coco_eval.reference import evaluate_by_pycocotools
from zoo.types import Evaluator

EVALUATORS: dict[Evaluator, Callable[..., CocoResult]] = {
    "vectorized": evaluate,
    "pycocotools": evaluate_by_pycocotools,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """Decimals that detections are rounded to before they are evaluated, as frameworks do that write them to a file.

    Attributes:
        box: decimals of x, y, width and height, in pixels; None for every digit.
        score: decimals of scores; likewise.
    """

    box: int | None = None
    score: int | None = None

    def __call__(self, detections: DetectionColumns) -> DetectionColumns:
        """The detections as they are evaluated."""
        # Exact: a float32 times such a power of ten is a float64, and the division is the nearest decimal's float64.
        boxes = detections.bbox if self.box is None else detections.bbox.round(self.box)
        scores = detections.score if self.score is None else detections.score.round(self.score)
        return replace(detections, bbox=boxes, score=scores)


def coco_numbers(
    ground_truth: CocoGroundTruth,
    detections: DetectionColumns,
    iou_types: Sequence[IouType],
    evaluator: Evaluator = "vectorized",
) -> dict[str, Any]:
    """COCO's numbers, in points.

    Args:
        ground_truth: annotations of the images that were looked at.
        detections: in those images.
        iou_types: what is compared.
        evaluator: ours, or pycocotools itself.

    Returns:
        box_AP, box_AP50, box_AP75, box_AP_small, _medium, _large, box_AR_1, _10, _100, _small, _medium, _large;
        mask_AP and so on for masks; keypoint_AP, _AP50, _AP75, _AP_medium, _AP_large, _AR, _AR50, _AR75, _AR_medium,
        _AR_large for keypoints; per_class: {"box_AP": {class name: points}}. None stands where no object of that size
        or class is in the ground truth.

    Raises:
        DataError: a detection is of an image that the ground truth does not have.
        ZooError: a number is not finite, or what is compared is not there.
    """
    by_id = ground_truth.category_ids.argsort().tolist()
    names = [ground_truth.category_names[label] for label in by_id]
    numbers: dict[str, Any] = {}
    per_class: dict[str, dict[str, float | None]] = {}
    for iou_type in iou_types:
        task = TASKS[iou_type]
        result = EVALUATORS[evaluator](ground_truth, detections, iou_type=iou_type)
        stats = zip(task.stats, result.stats, strict=True)
        numbers |= {f"{task.prefix}_{name}": _points(value) for name, value in stats}
        per_class[task.ap] = {
            name: None if points < 0 else float(points) for name, points in zip(names, result.per_class_ap, strict=True)
        }
    return {**numbers, "per_class": per_class}


def _points(value: float) -> float | None:
    """COCO's -1 for "nothing to find" becomes None, a share of 1 becomes 100."""
    return None if value < 0 else float(value) * 100
