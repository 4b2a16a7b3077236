"""COCO's evaluation by pycocotools itself: the reference that `zoo.measure.coco_eval.evaluate` is held against."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.coco_tasks import TASKS, IouType
from zoo.data.coco import CocoGroundTruth
from zoo.measure.coco_eval.columns import DetectionColumns
from zoo.measure.coco_eval.evaluate import CocoResult, check


def evaluate_by_pycocotools(
    ground_truth: CocoGroundTruth,
    detections: DetectionColumns,
    *,
    iou_type: IouType,
    max_detections: Sequence[int] | None = None,
) -> CocoResult:
    """The same as `evaluate`, by `pycocotools.cocoeval.COCOeval`, in memory and without a word.

    Raises:
        DataError: a detection is of an image that the ground truth does not have.
        ZooError: a number is not finite.
    """
    check(ground_truth, detections)
    if iou_type == "keypoints":
        ground_truth.require_keypoints()
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        annotations: Any = COCO()
        annotations.dataset = as_dataset(ground_truth)
        annotations.createIndex()
        results: Any = COCO()
        if len(detections):
            results = annotations.loadRes(as_results(detections, iou_type))
        else:  # loadRes fails without a first result to look at
            results.dataset = {**annotations.dataset, "annotations": []}
            results.createIndex()
        evaluation = COCOeval(annotations, results, iou_type)
        evaluation.params.maxDets = list(max_detections or TASKS[iou_type].max_detections)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return CocoResult(
        precision=evaluation.eval["precision"],
        recall=evaluation.eval["recall"],
        scores=evaluation.eval["scores"],
        stats=np.asarray(evaluation.stats),
    )


def as_dataset(ground_truth: CocoGroundTruth) -> dict[str, Any]:
    """The annotations as COCO's JSON holds them, fresh dictionaries throughout (pycocotools writes into them)."""
    images = zip(
        ground_truth.image_ids.tolist(),
        ground_truth.file_names,
        ground_truth.heights.tolist(),
        ground_truth.widths.tolist(),
        strict=True,
    )
    columns = {
        "id": ground_truth.annotation_ids.tolist(),
        "image_id": ground_truth.image_ids[ground_truth.image_index].tolist(),
        "category_id": ground_truth.category_ids[ground_truth.category_index].tolist(),
        "bbox": ground_truth.boxes.tolist(),
        "area": ground_truth.areas.tolist(),
        "iscrowd": ground_truth.is_crowd.astype(int).tolist(),
        "ignore": ground_truth.ignore.astype(int).tolist(),
        "segmentation": ground_truth.segmentations,
    }
    if ground_truth.keypoints is not None and ground_truth.num_keypoints is not None:
        columns["keypoints"] = [points.ravel().tolist() for points in ground_truth.keypoints]
        columns["num_keypoints"] = ground_truth.num_keypoints.tolist()
    categories = zip(ground_truth.category_ids.tolist(), ground_truth.category_names, strict=True)
    return {
        "images": [dict(zip(("id", "file_name", "height", "width"), row, strict=True)) for row in images],
        "categories": [dict(zip(("id", "name"), row, strict=True)) for row in categories],
        "annotations": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
    }


def as_results(detections: DetectionColumns, iou_type: IouType) -> list[dict[str, Any]]:
    """The detections in COCO's results format.

    Masks and keypoints come without boxes, because pycocotools would take a detection's size from its box where there
    is one.
    """
    columns = {
        "image_id": detections.image_id.tolist(),
        "category_id": detections.category_id.tolist(),
        "score": detections.score.tolist(),
    }
    if iou_type == "bbox":
        columns["bbox"] = detections.bbox.tolist()
    elif iou_type == "segm":
        columns["segmentation"] = [dict(mask) for mask in detections.masks()]
    else:
        columns["keypoints"] = [points.ravel().tolist() for points in detections.points()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
