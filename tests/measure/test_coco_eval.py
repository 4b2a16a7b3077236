"""COCO's evaluation from columns against pycocotools, bit for bit, and against examples worked by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_sets import found, random_mask_set, random_set, truth

from zoo.coco_tasks import IouType
from zoo.data.coco import CocoGroundTruth
from zoo.errors import DataError, ZooError
from zoo.measure.coco_eval.columns import DetectionColumns
from zoo.measure.coco_eval.evaluate import CocoResult, evaluate
from zoo.measure.coco_eval.ranking import order_by
from zoo.measure.coco_eval.reference import evaluate_by_pycocotools

REAL = Path(__file__).parents[2].parent / "shared" / "coco" / "annotations" / "instances_val2017.json"


def assert_same_bits(ours: CocoResult, theirs: CocoResult) -> None:
    for name in ("precision", "recall", "scores", "stats"):
        mine, reference = getattr(ours, name), getattr(theirs, name)
        assert mine.shape == reference.shape
        assert np.array_equal(mine, reference), f"{name} differs in {np.sum(mine != reference)} places"


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


def test_order_by_has_room_for_short_integers() -> None:
    keys = np.random.default_rng(0).integers(0, 1 << 30, 5000).astype(np.int32)
    assert np.array_equal(order_by(keys), np.argsort(keys, kind="stable"))


def test_pr_curves_worked_by_hand() -> None:
    # Class 1: a hit of two objects, IoU 0.8, behind a false positive. Class 2: no objects. Class 3: a perfect hit.
    objects = truth([(0, 0, 10, 10), (50, 0, 10, 10), (80, 0, 10, 10)], categories=[0, 0, 2], category_ids=(1, 2, 3))
    boxes = [(100, 100, 9, 9), (0, 0, 10, 8), (80, 0, 10, 10)]
    result = evaluate(objects, found(boxes, [0.9, 0.8, 0.7], category_ids=[1, 1, 3]), iou_type="bbox")
    half, nothing = np.repeat([0.5, 0.0], [51, 50]), np.full(101, -1.0)
    assert result.pr_curves(0.5) == pytest.approx(np.stack([half, nothing, np.ones(101)]))
    assert result.pr_curves(0.75, 0.95) == pytest.approx(np.stack([half / 2, nothing, np.ones(101)]))
    assert result.mean_pr_curve(0.5) == pytest.approx((half + 1) / 2), "over the classes that have objects"
    assert result.mean_pr_curve() == pytest.approx((half * 0.7 + 1) / 2), "7 of 10 thresholds are reached"
    assert result.mean_pr_curve().mean() == pytest.approx(result.stats[0])
    with pytest.raises(ValueError, match=r"no IoU thresholds \(0\.52,\)"):
        result.pr_curves(0.52)
    nobody = evaluate(truth([]), found([], []), iou_type="bbox")
    assert nobody.mean_pr_curve(0.5).tolist() == [0.0] * 101
