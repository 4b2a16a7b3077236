"""Small data sets in COCO's layout and detections in them, made up for tests of the evaluation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
from pycocotools import mask as coco_mask

from zoo.data.coco import CocoGroundTruth
from zoo.measure.coco_eval.columns import DetectionColumns
from zoo.types import Rle


def truth(
    boxes: Any,
    *,
    images: Any = None,
    categories: Any = None,
    image_ids: Any = (1,),
    category_ids: Any = (1,),
    areas: Any = None,
    crowd: Any = None,
    segmentations: list[Any] | None = None,
    keypoints: Any = None,
    num_keypoints: Any = None,
    size: int = 400,
) -> CocoGroundTruth:
    """Ground truth from columns; `images` and `categories` are positions (A,), everything in the first by default."""
    boxes = np.asarray(boxes, dtype=float).reshape(-1, 4)
    images = np.zeros(len(boxes), dtype=int) if images is None else np.asarray(images)
    categories = np.zeros(len(boxes), dtype=int) if categories is None else np.asarray(categories)
    by_image = np.argsort(images, kind="stable")
    none = np.zeros(len(boxes), dtype=bool)
    if keypoints is not None:
        keypoints = np.asarray(keypoints, dtype=float)[by_image]
        counted = (keypoints[:, :, 2] > 0).sum(axis=1)
        num_keypoints = counted if num_keypoints is None else np.asarray(num_keypoints)[by_image]
    return CocoGroundTruth(
        sha256="",
        image_ids=np.array(image_ids),
        file_names=[f"{i}.jpg" for i in image_ids],
        heights=np.full(len(image_ids), size),
        widths=np.full(len(image_ids), size),
        category_ids=np.array(category_ids),
        category_names=[f"c{i}" for i in category_ids],
        annotation_ids=np.arange(1, len(boxes) + 1),
        image_index=images[by_image],
        category_index=categories[by_image],
        boxes=boxes[by_image],
        areas=(boxes[:, 2] * boxes[:, 3] if areas is None else np.asarray(areas, dtype=float))[by_image],
        is_crowd=(none if crowd is None else np.asarray(crowd, dtype=bool))[by_image],
        ignore=none,
        segmentations=[None] * len(boxes) if segmentations is None else [segmentations[i] for i in by_image],
        keypoints=keypoints,
        num_keypoints=num_keypoints,
    )


def found(
    boxes: Any,
    scores: Any,
    *,
    image_ids: Any = 1,
    category_ids: Any = 1,
    masks: list[Rle] | None = None,
    keypoints: Any = None,
) -> DetectionColumns:
    boxes = np.asarray(boxes, dtype=float).reshape(-1, 4)
    return DetectionColumns(
        image_id=np.broadcast_to(image_ids, len(boxes)).astype(np.int64),
        category_id=np.broadcast_to(category_ids, len(boxes)).astype(np.int64),
        bbox=boxes,
        score=np.asarray(scores, dtype=float),
        segmentation=masks,
        keypoints=None if keypoints is None else np.asarray(keypoints, dtype=float),
    )


def random_boxes(rng: np.random.Generator, n: int, *, grid: int) -> np.ndarray:
    """Boxes on a coarse grid: equal overlaps, duplicates, and areas of exactly 32**2 and 96**2 are common."""
    corners = rng.integers(0, 5, (n, 2)) * grid
    sizes = rng.choice([8, 16, 32, 48, 64, 96, 128], (n, 2))
    square = rng.random(n) < 0.5
    sizes[square, 1] = sizes[square, 0]
    return np.concatenate([corners, sizes], axis=1).astype(float)


def random_set(seed: int) -> tuple[CocoGroundTruth, DetectionColumns]:
    """A small set with every kind of trouble: ties, crowds, ignored objects, empty images and categories, crowding."""
    rng = np.random.default_rng(seed)
    image_ids = np.sort(rng.choice(1000, rng.integers(1, 6), replace=False)) + (2**40 if seed % 5 == 0 else 1)
    category_ids = np.sort(rng.choice(90, rng.integers(1, 4), replace=False)) + 1
    objects = int(rng.integers(0, 30))
    boxes = random_boxes(rng, objects, grid=16)
    if seed % 3:  # two in three sets are off the grid
        boxes += rng.normal(0, 3, boxes.shape).round(2) * [1, 1, 0, 0]
    ground_truth = truth(
        boxes,
        images=rng.integers(0, len(image_ids), objects),
        categories=rng.integers(0, len(category_ids), objects),
        image_ids=image_ids,
        category_ids=category_ids,
        areas=boxes[:, 2] * boxes[:, 3] * rng.choice([1, 0.7], objects),
        crowd=rng.random(objects) < 0.15,
    )
    ground_truth = replace(ground_truth, ignore=rng.random(objects) < 0.1)
    ground_truth.annotation_ids[:] = rng.permutation(objects) + 1
    n = int(rng.choice([0, 5, 40, 400], p=[0.05, 0.25, 0.5, 0.2]))
    near = rng.integers(0, max(objects, 1), n)
    hit = (rng.random(n) < 0.7) & (objects > 0)
    detected = random_boxes(rng, n, grid=16)
    image_id = rng.choice(image_ids, n)
    category_id = rng.choice([*category_ids, 99], n)  # 99 is no category of the set
    if objects:
        detected[hit] = ground_truth.boxes[near[hit]] + rng.integers(-2, 3, (hit.sum(), 4)) * rng.choice([0, 1, 4])
        detected[:, 2:] = np.abs(detected[:, 2:])
        image_id[hit] = image_ids[ground_truth.image_index[near[hit]]]
        category_id[hit] = category_ids[ground_truth.category_index[near[hit]]]
    scores = rng.random(n).round(int(rng.choice([1, 2, 6]))) - (0.5 if seed % 7 == 0 else 0)
    if seed % 2:
        scores = scores.astype(np.float32).astype(np.float64)
    return ground_truth, found(detected, scores, image_ids=image_id, category_ids=category_id)


def random_masks(rng: np.random.Generator, n: int, size: int) -> np.ndarray:
    """Bitmaps (n, size, size): rectangles with holes on a coarse grid, so that equal overlaps are common."""
    bitmaps = np.zeros((n, size, size), dtype=np.uint8)
    for bitmap in bitmaps:
        x, y = rng.integers(0, size // 8, 2) * 4
        w, h = rng.integers(1, 9, 2) * 4
        bitmap[y : y + h, x : x + w] = 1
        if rng.random() < 0.5:
            bitmap[rng.integers(0, size), :] = 0
    return bitmaps


def compressed(bitmap: np.ndarray) -> Rle:
    encoded: Any = coco_mask.encode(np.asfortranarray(bitmap))
    return {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")}


def as_annotation(rng: np.random.Generator, bitmap: np.ndarray) -> Any:
    """One of the three forms in which COCO gives a mask."""
    form = rng.integers(3)
    if form == 0:
        runs = np.flatnonzero(np.diff(bitmap.T.ravel(), prepend=0, append=2))
        return {"size": list(bitmap.shape), "counts": np.diff(runs, prepend=0).tolist()}
    if form == 1:
        return compressed(bitmap)
    x, y, w, h = coco_mask.toBbox(cast(Any, compressed(bitmap))).tolist()
    return [[x, y, x + w, y, x + w, y + h], [x, y, x + w, y + h, x, y + h + 0.5]]


def random_mask_set(seed: int, size: int = 64) -> tuple[CocoGroundTruth, DetectionColumns]:
    rng = np.random.default_rng(seed)
    objects, n = int(rng.integers(0, 16)), int(rng.choice([0, 3, 30, 130]))
    bitmaps = random_masks(rng, objects, size)
    image_ids, category_ids = np.arange(1, rng.integers(2, 5)), [3, 7]
    ground_truth = truth(
        np.ones((objects, 4)),
        images=rng.integers(0, len(image_ids), objects),
        categories=rng.integers(0, 2, objects),
        image_ids=image_ids,
        category_ids=category_ids,
        areas=rng.choice([100, 1024, 5000, 9216], objects),
        crowd=rng.random(objects) < 0.2,
        segmentations=[as_annotation(rng, bitmap) for bitmap in bitmaps],
        size=size,
    )
    masks = [compressed(bitmap) for bitmap in random_masks(rng, n, size)]
    for i in np.flatnonzero(rng.random(n) < 0.6) if objects else []:
        masks[i] = compressed(bitmaps[rng.integers(objects)])
    scores = rng.random(n).round(1)
    detections = found(
        np.ones((n, 4)),
        scores,
        image_ids=rng.choice(image_ids, n),
        category_ids=rng.choice(category_ids, n),
        masks=masks,
    )
    return ground_truth, detections


def random_keypoints(rng: np.random.Generator, boxes: np.ndarray) -> np.ndarray:
    """17 keypoints (N, 17, 3) in boxes, on a coarse grid; some are not labelled, of some objects none is."""
    shares = rng.integers(0, 9, (len(boxes), 17, 2)) / 8
    points = (boxes[:, None, :2] + shares * boxes[:, None, 2:]).round()
    visibility = rng.choice([0, 1, 2], (len(boxes), 17, 1), p=[0.3, 0.3, 0.4])
    visibility[rng.random(len(boxes)) < 0.25] = 0
    return np.concatenate([points * (visibility > 0), visibility], axis=2)


def random_keypoint_set(seed: int) -> tuple[CocoGroundTruth, DetectionColumns]:
    """Persons with keypoints: every trouble of `random_set`, and objects without any, or with a count that is wrong."""
    rng = np.random.default_rng(seed)
    ground_truth, detections = random_set(seed)
    keypoints = random_keypoints(rng, ground_truth.boxes)
    counted = (keypoints[:, :, 2] > 0).sum(axis=1)
    wrong = rng.random(len(counted)) < 0.1  # files exist that say 0 of visible ones, and the other way round
    counted[wrong] = rng.choice([0, 5], wrong.sum())
    ground_truth = replace(ground_truth, keypoints=keypoints, num_keypoints=counted)
    points = random_keypoints(rng, detections.bbox)
    points[:, :, 2] = rng.normal(0, 5, points.shape[:2])  # logits
    near = rng.integers(0, max(len(keypoints), 1), len(points))
    hit = rng.random(len(points)) < (0.7 if len(keypoints) else 0)
    points[hit, :, :2] = keypoints[near[hit], :, :2] + rng.normal(0, rng.choice([0, 1, 5]), (hit.sum(), 17, 2)).round(2)
    image_id, category_id = detections.image_id.copy(), detections.category_id.copy()
    image_id[hit] = ground_truth.image_ids[ground_truth.image_index[near[hit]]]
    category_id[hit] = ground_truth.category_ids[ground_truth.category_index[near[hit]]]
    return ground_truth, replace(detections, image_id=image_id, category_id=category_id, keypoints=points)
