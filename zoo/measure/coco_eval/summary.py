"""COCO's numbers of detections, in points, as records and tables name them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zoo.data.coco import CocoGroundTruth
from zoo.measure.coco_eval import PREFIXES, IouType
from zoo.measure.coco_eval.area_iou_bits import AREA_RANGES
from zoo.measure.coco_eval.evaluate import MAX_DETECTIONS, CocoResult, DetectionColumns, evaluate
from zoo.measure.coco_eval.reference import evaluate_by_pycocotools
from zoo.types import Evaluator

EVALUATORS: dict[Evaluator, Callable[..., CocoResult]] = {
    "vectorized": evaluate,
    "pycocotools": evaluate_by_pycocotools,
}

# The 12 numbers of COCO's summary, in its order.
_SIZES = tuple(name for name in AREA_RANGES if name != "all")
STATS = (
    *("AP", "AP50", "AP75", *(f"AP_{size}" for size in _SIZES)),
    *(f"AR_{limit}" for limit in MAX_DETECTIONS),
    *(f"AR_{size}" for size in _SIZES),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """Decimals that detections are rounded to before they are evaluated, as frameworks do that write them to a file.

    Attributes:
        box: decimals of x, y, width and height, in pixels.
        score: decimals of scores.
    """

    box: int
    score: int

    def __call__(self, detections: DetectionColumns) -> DetectionColumns:
        """The detections as they are evaluated."""
        # Exact: a float32 times such a power of ten is a float64, and the division is the nearest decimal's float64.
        return replace(detections, bbox=detections.bbox.round(self.box), score=detections.score.round(self.score))


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
        iou_types: what is compared: "bbox", "segm" or both.
        evaluator: ours, or pycocotools itself.

    Returns:
        box_AP, box_AP50, box_AP75, box_AP_small, _medium, _large, box_AR_1, _10, _100, _small, _medium, _large;
        mask_AP and so on for masks; per_class: {"box_AP": {class name: points}}. None stands where no object of
        that size or class is in the ground truth.

    Raises:
        DataError: a detection is of an image that the ground truth does not have.
        ZooError: a score or a box is not finite, or masks are asked for and not there.
    """
    by_id = ground_truth.category_ids.argsort().tolist()
    names = [ground_truth.category_names[label] for label in by_id]
    numbers: dict[str, Any] = {}
    per_class: dict[str, dict[str, float | None]] = {}
    for iou_type in iou_types:
        prefix = PREFIXES[iou_type]
        result = EVALUATORS[evaluator](ground_truth, detections, iou_type=iou_type)
        numbers |= {f"{prefix}_{name}": _points(value) for name, value in zip(STATS, result.stats, strict=True)}
        per_class[f"{prefix}_AP"] = {
            name: None if points < 0 else float(points) for name, points in zip(names, result.per_class_ap, strict=True)
        }
    return {**numbers, "per_class": per_class}


def _points(value: float) -> float | None:
    """COCO's -1 for "nothing to find" becomes None, a share of 1 becomes 100."""
    return None if value < 0 else float(value) * 100
