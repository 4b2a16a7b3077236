"""COCO's evaluation from columns against pycocotools, bit for bit, and against examples worked by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from zoo.data.coco import CocoGroundTruth
from zoo.errors import DataError, ZooError
from zoo.measure.coco_eval import IouType
from zoo.measure.coco_eval.evaluate import CocoResult, DetectionColumns, evaluate
from zoo.measure.coco_eval.ranking import order_by
from zoo.measure.coco_eval.reference import evaluate_by_pycocotools
from zoo.types import Rle

REAL = Path(__file__).parents[2].parent / "shared" / "coco" / "annotations" / "instances_val2017.json"


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
    size: int = 400,
) -> CocoGroundTruth:
    """Ground truth from columns; `images` and `categories` are positions (A,), everything in the first by default."""
    boxes = np.asarray(boxes, dtype=float).reshape(-1, 4)
    images = np.zeros(len(boxes), dtype=int) if images is None else np.asarray(images)
    categories = np.zeros(len(boxes), dtype=int) if categories is None else np.asarray(categories)
    by_image = np.argsort(images, kind="stable")
    none = np.zeros(len(boxes), dtype=bool)
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
    )


def found(
    boxes: Any, scores: Any, *, image_ids: Any = 1, category_ids: Any = 1, masks: list[Rle] | None = None
) -> DetectionColumns:
    boxes = np.asarray(boxes, dtype=float).reshape(-1, 4)
    return DetectionColumns(
        image_id=np.broadcast_to(image_ids, len(boxes)).astype(np.int64),
        category_id=np.broadcast_to(category_ids, len(boxes)).astype(np.int64),
        bbox=boxes,
        score=np.asarray(scores, dtype=float),
        segmentation=masks,
    )


def assert_same_bits(ours: CocoResult, theirs: CocoResult) -> None:
    for name in ("precision", "recall", "scores", "stats"):
        mine, reference = getattr(ours, name), getattr(theirs, name)
        assert mine.shape == reference.shape
        assert np.array_equal(mine, reference), f"{name} differs in {np.sum(mine != reference)} places"


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


def both(
    ground_truth: CocoGroundTruth, detections: DetectionColumns, iou_type: IouType = "bbox", **limits: Any
) -> CocoResult:
    """Our result, after it was found equal to pycocotools'."""
    ours = evaluate(ground_truth, detections, iou_type=iou_type, **limits)
    assert_same_bits(ours, evaluate_by_pycocotools(ground_truth, detections, iou_type=iou_type, **limits))
    return ours


@pytest.mark.parametrize("seed", range(200))
def test_boxes_give_the_bits_of_pycocotools(seed: int) -> None:
    both(*random_set(seed))


@pytest.mark.parametrize("seed", range(60))
def test_masks_give_the_bits_of_pycocotools(seed: int) -> None:
    both(*random_mask_set(seed), iou_type="segm")


@pytest.mark.parametrize("limits", [(1, 5, 20), (2, 10, 300)])
def test_other_limits_give_the_bits_of_pycocotools(limits: tuple[int, int, int]) -> None:
    for seed in range(300, 310):
        both(*random_set(seed), max_detections=limits)


def test_random_sets_are_neither_hopeless_nor_perfect() -> None:
    precision = [evaluate(*random_set(seed), iou_type="bbox").stats[0] for seed in range(60)]
    assert sum(0.05 < value < 0.95 for value in precision) > 30


@pytest.mark.skipif(not REAL.exists(), reason="the sample of val2017 is not here")
@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_real_annotations_give_the_bits_of_pycocotools(iou_type: IouType) -> None:
    ground_truth = CocoGroundTruth.load(REAL)
    rng = np.random.default_rng(0)
    source = rng.integers(0, len(ground_truth.areas), 1500)
    masks = [ground_truth.rle(int(i)) for i in source]
    detections = found(
        ground_truth.boxes[source] + np.abs(rng.normal(0, 4, (len(source), 4))),
        rng.random(len(source)).round(2),
        image_ids=ground_truth.image_ids[ground_truth.image_index[source]],
        category_ids=ground_truth.category_ids[ground_truth.category_index[source]],
        masks=masks,
    )
    result = both(ground_truth, detections, iou_type)
    assert 0.3 < result.stats[0] < 1
    assert result.precision.shape == (10, 101, 80, 4, 3)


def test_a_miss_between_two_hits() -> None:
    # Precision is 1 up to a recall of 1/2 (51 of the 101 points) and 2/3 beyond (50 points).
    ground_truth = truth([[0, 0, 40, 40], [100, 0, 40, 40]])
    result = both(ground_truth, found([[0, 0, 40, 40], [200, 200, 40, 40], [100, 0, 40, 40]], [0.9, 0.8, 0.7]))
    assert result.stats[0] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert result.per_class_ap == pytest.approx([100 * (51 + 50 * 2 / 3) / 101])
    assert result.stats[8] == 1  # recall
    assert result.scores[0, [0, 50, 51, 100], 0, 0, 2].tolist() == [0.9, 0.9, 0.7, 0.7]


def test_overlap_counts_up_to_its_threshold() -> None:
    result = both(truth([[0, 0, 100, 100]]), found([[0, 0, 100, 62]], [0.5]))
    assert result.stats[:3] == pytest.approx([0.3, 1, 0])  # .5, .55 and .6 of ten thresholds


def test_an_overlap_of_exactly_the_threshold_is_a_match() -> None:
    assert both(truth([[0, 0, 100, 100]]), found([[0, 0, 100, 50]], [0.5])).stats[1] == pytest.approx(1)


def test_a_crowd_takes_any_number_of_detections_and_none_counts() -> None:
    ground_truth = truth([[0, 0, 40, 40], [100, 100, 200, 200]], crowd=[False, True])
    inside = [[110, 110, 30, 30], [150, 150, 30, 30], [0, 0, 40, 40]]
    assert both(ground_truth, found(inside, [0.9, 0.8, 0.7])).stats[0] == pytest.approx(1)


def test_an_area_on_the_border_belongs_to_both_sizes() -> None:
    result = both(truth([[0, 0, 32, 32], [100, 0, 96, 96]]), found([[0, 0, 32, 32]], [0.9]))
    small, medium, large = result.stats[9:12]
    assert (small, medium, large) == (1, 0.5, 0)


def test_detections_beyond_the_limit_are_not_seen() -> None:
    misses = np.tile([[200, 200, 9, 9]], (100, 1))
    detections = found(np.concatenate([misses, [[0, 0, 40, 40]]]), np.linspace(0.9, 0.1, 101))
    assert both(truth([[0, 0, 40, 40]]), detections).stats[8] == 0


def test_of_equal_overlaps_the_later_object_is_taken() -> None:
    # Both objects fit the first detection alike. The second fits the first object only: it is still free.
    ground_truth = truth([[0, 0, 40, 40], [0, 20, 40, 40]])
    assert both(ground_truth, found([[0, 10, 40, 40], [0, 0, 40, 38]], [0.9, 0.8])).recall[0, 0, 0, 2] == 1


def test_without_detections() -> None:
    result = both(truth([[0, 0, 40, 40]], category_ids=[1, 2]), found([], []))
    assert result.stats[0] == 0
    assert np.all(result.precision[:, :, 1] == -1)
    assert result.per_class_ap.tolist() == [0, -1]


def test_without_objects() -> None:
    assert np.all(both(truth([]), found([[0, 0, 40, 40]], [0.9])).stats == -1)


def test_a_category_of_no_interest_is_left_out() -> None:
    ground_truth = truth([[0, 0, 40, 40]])
    strangers = found([[0, 0, 40, 40]] * 2, [0.9, 0.8], category_ids=[2, 1])
    assert both(ground_truth, strangers).stats[0] == pytest.approx(1)


@pytest.mark.parametrize("evaluator", [evaluate, evaluate_by_pycocotools])
def test_what_cannot_be_evaluated(evaluator: Any) -> None:
    ground_truth = truth([[0, 0, 40, 40]])
    with pytest.raises(DataError, match="image 7"):
        evaluator(ground_truth, found([[0, 0, 40, 40]], [0.9], image_ids=7), iou_type="bbox")
    with pytest.raises(ZooError, match="not a finite number"):
        evaluator(ground_truth, found([[0, 0, 40, 40]], [np.nan]), iou_type="bbox")
    with pytest.raises(ZooError, match="no masks"):
        evaluator(ground_truth, found([[0, 0, 40, 40]], [0.9]), iou_type="segm")


@pytest.mark.parametrize("largest", [10, 2**62])
def test_order_by_is_a_stable_argsort(largest: int) -> None:
    keys = np.random.default_rng(0).integers(0, 5, 1000) * (largest // 5)
    assert np.array_equal(order_by(keys), np.argsort(keys, kind="stable"))
