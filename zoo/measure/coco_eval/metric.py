"""The metric of the published tables: COCO's AP and AR of a detector, in points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from zoo.coco_tasks import IouType
from zoo.data.coco import CocoGroundTruth
from zoo.data.detections import Detections
from zoo.data.keypoints import KEYPOINT_NAMES
from zoo.errors import DataError, UsageError, ZooError, closest
from zoo.measure.coco_eval.columns import DetectionColumns
from zoo.measure.coco_eval.predictions import write_predictions
from zoo.measure.coco_eval.summary import EVALUATORS, Rounding, coco_numbers
from zoo.types import Evaluator, Rle

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.models.boxes import BoxConvention


class Accuracy:
    """COCO's average precision and recall of a detector.

    Args:
        ground_truth: the annotations of the images the detector is run on, its categories in the order of labels.
        evaluator: ours ("vectorized"), or pycocotools itself, which gives the same bits many times as slowly.
        iou_types: what is compared.
        convention: what the corners of the detector's boxes are; None: points. Codes of the Caffe era count pixels, and
            their published AP needs that.
        rounding: decimals of what is evaluated; None evaluates every digit. Predictions are written with every digit
            either way.

    Raises:
        UsageError: there is no such evaluator.
    """

    def __init__(
        self,
        ground_truth: CocoGroundTruth,
        *,
        evaluator: Evaluator = "vectorized",
        iou_types: Sequence[IouType] = ("bbox",),
        convention: BoxConvention | None = None,
        rounding: Rounding | None = None,
    ) -> None:
        from zoo.models.boxes import EXCLUSIVE

        if evaluator not in EVALUATORS:
            raise UsageError(f"no evaluator {evaluator!r}", next_step=f"choose one ({closest(evaluator, EVALUATORS)})")
        self.ground_truth = ground_truth
        self.evaluator = evaluator
        self.iou_types = tuple(iou_types)
        self.convention = convention or EXCLUSIVE
        self.rounding = rounding
        self.reset()

    def reset(self) -> None:
        """Forget all detections."""
        self._image_ids: list[npt.NDArray[np.int64]] = []
        self._category_ids: list[npt.NDArray[np.int64]] = []
        self._boxes: list[npt.NDArray[np.float64]] = []
        self._scores: list[npt.NDArray[np.float64]] = []
        self._masks: list[Rle] = []
        self._keypoints: list[npt.NDArray[np.float64]] = []

    def update(self, image_ids: Sequence[int], detections: Sequence[Detections]) -> None:
        """Take the detections of some images.

        Boxes and scores are kept as the float32 numbers they are: width and height are float32 differences, as the
        source frameworks write them, and only then widened.

        Args:
            image_ids: the data set's ids.
            detections: one per image.

        Raises:
            DataError: a label lies outside the class list.
            ZooError: masks or keypoints are to be compared and an image has none.
        """
        for image_id, found in zip(image_ids, detections, strict=True):
            self._image_ids.append(np.full(len(found), image_id, dtype=np.int64))
            self._category_ids.append(self._categories(found))
            self._boxes.append(_as_float64(self.convention.to_xywh(_float32(found.boxes).reshape(-1, 4))))
            self._scores.append(_as_float64(_float32(found.scores)))
            if "segm" in self.iou_types:
                self._masks += _masks(found, image_id)
            if "keypoints" in self.iou_types:
                self._keypoints.append(_as_float64(_float32(_keypoints(found, image_id))))

    def columns(self) -> DetectionColumns:
        """All detections so far, in the order in which they came."""
        return DetectionColumns(
            image_id=np.concatenate([np.empty(0, np.int64), *self._image_ids]),
            category_id=np.concatenate([np.empty(0, np.int64), *self._category_ids]),
            bbox=np.concatenate([np.empty((0, 4)), *self._boxes]),
            score=np.concatenate([np.empty(0), *self._scores]),
            segmentation=list(self._masks) if "segm" in self.iou_types else None,
            keypoints=np.concatenate([np.empty((0, len(KEYPOINT_NAMES), 3)), *self._keypoints])
            if "keypoints" in self.iou_types
            else None,
        )

    def result(self) -> dict[str, Any]:
        """COCO's numbers, in points.

        Returns:
            The numbers of what is compared, as `coco_numbers` names them.

        Raises:
            DataError: a detection is of an image that the ground truth does not have.
            ZooError: a number is not finite.
        """
        detections = self.columns() if self.rounding is None else self.rounding(self.columns())
        return coco_numbers(self.ground_truth, detections, self.iou_types, self.evaluator)

    def write_predictions(self, path: Path) -> None:
        """Write the detections in COCO's results format, not rounded; see `zoo.measure.coco_eval.predictions`."""
        write_predictions(self.columns(), path)

    def _categories(self, found: Detections) -> npt.NDArray[np.int64]:
        """The category ids (N,) of an image's labels."""
        labels = found.labels.detach().cpu().numpy()
        known = len(self.ground_truth.category_ids)
        if labels.size and not 0 <= labels.min() <= labels.max() < known:
            raise DataError(
                f"the detector gives labels {labels.min()} to {labels.max()}, but the annotations have {known} classes",
                next_step="evaluate on the data set whose class list the detector was trained on",
            )
        return np.asarray(self.ground_truth.category_ids[labels], dtype=np.int64)


def _float32(values: Tensor) -> Tensor:
    return values.detach().cpu().float()


def _as_float64(values: Tensor) -> npt.NDArray[np.float64]:
    array: npt.NDArray[np.float64] = values.numpy().astype(np.float64)
    return array


def _masks(found: Detections, image_id: int) -> list[Rle]:
    if found.masks is None or len(found.masks) != len(found):
        raise ZooError(
            f"image {image_id} has {len(found)} detections and {len(found.masks or [])} masks",
            next_step="evaluate boxes only, or run a model that gives a mask for each box",
        )
    return found.masks


def _keypoints(found: Detections, image_id: int) -> Tensor:
    """The keypoints of an image, (N, 17, 3)."""
    shape = (len(found), len(KEYPOINT_NAMES), 3)
    if found.keypoints is None or tuple(found.keypoints.shape) != shape:
        given = "none" if found.keypoints is None else f"those of shape {tuple(found.keypoints.shape)}"
        raise ZooError(
            f"image {image_id} has {len(found)} detections, whose keypoints are to be {shape}, and has {given}",
            next_step="evaluate boxes only, or run a model that gives COCO's keypoints for each box",
        )
    return found.keypoints
