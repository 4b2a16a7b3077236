"""Two sets of detections beside each other: worked examples, and the slow way that evaluates every resample anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from coco_sets import found, random_mask_set, random_set, truth

from zoo.coco_tasks import IouType
from zoo.data.coco import CocoGroundTruth
from zoo.errors import DataError
from zoo.measure.coco_eval.columns import DetectionColumns
from zoo.measure.coco_eval.evaluate import evaluate, match_detections
from zoo.measure.coco_eval.paired import PairedComparison, compare_paired
from zoo.measure.coco_eval.weighted import WeightedCurves


def untied(ground_truth: CocoGroundTruth, detections: DetectionColumns) -> tuple[CocoGroundTruth, DetectionColumns]:
    """The same set, of which no two detections score alike."""
    scores = np.random.default_rng(0).permutation(len(detections)) / (len(detections) + 1)
    return ground_truth, replace(detections, score=scores)


def drawn(
    ground_truth: CocoGroundTruth, detections: DetectionColumns, weights: np.ndarray
) -> tuple[CocoGroundTruth, DetectionColumns]:
    """The set in which every image really occurs as often as it is drawn, each time under an id of its own."""
    source = np.repeat(np.arange(len(ground_truth)), weights)
    objects = [np.flatnonzero(ground_truth.image_index == image) for image in source]
    rows = [np.flatnonzero(detections.image_id == ground_truth.image_ids[image]) for image in source]
    kept, chosen = (np.concatenate([np.empty(0, dtype=int), *parts]) for parts in (objects, rows))
    copies = replace(
        ground_truth,
        image_ids=np.arange(len(source)) + 1,
        file_names=[f"{i}.jpg" for i in range(len(source))],
        heights=ground_truth.heights[source],
        widths=ground_truth.widths[source],
        annotation_ids=np.arange(len(kept)) + 1,
        image_index=np.repeat(np.arange(len(source)), [len(part) for part in objects]),
        category_index=ground_truth.category_index[kept],
        boxes=ground_truth.boxes[kept],
        areas=ground_truth.areas[kept],
        is_crowd=ground_truth.is_crowd[kept],
        ignore=ground_truth.ignore[kept],
        segmentations=[ground_truth.segmentations[i] for i in kept],
    )
    columns = DetectionColumns(
        image_id=np.repeat(np.arange(len(source)) + 1, [len(part) for part in rows]),
        category_id=detections.category_id[chosen],
        bbox=detections.bbox[chosen],
        score=detections.score[chosen],
        segmentation=None if detections.segmentation is None else [detections.segmentation[i] for i in chosen],
    )
    return copies, columns


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(40))
def test_weighted_images_give_what_copies_of_them_give(seed: int, iou_type: IouType) -> None:
    ground_truth, detections = untied(*(random_set(seed) if iou_type == "bbox" else random_mask_set(seed)))
    images = len(ground_truth)
    curves = WeightedCurves.by_category(match_detections(ground_truth, detections, iou_type), images=images)
    rng = np.random.default_rng(seed)
    for weights in (np.ones(images, dtype=int), *rng.multinomial(images, [1 / images] * images, 2), [3] * images):
        weights = np.asarray(weights)
        slow = evaluate(*drawn(ground_truth, detections, weights), iou_type=iou_type)
        fast = curves.average_precision(weights)
        assert fast.shape == (10, len(ground_truth.category_ids))
        expected = slow.precision[:, :, :, 0, 2].mean(axis=1)
        assert np.nan_to_num(fast, nan=-1) == pytest.approx(expected, abs=1e-12)


def slowly(
    ground_truth: CocoGroundTruth, old: DetectionColumns, new: DetectionColumns, resamples: int, seed: int
) -> list[list[float]]:
    """The 2.5th and 97.5th percentile of the differences of AP, AP50 and AP75, every resample evaluated anew."""
    rng = np.random.default_rng(seed)
    images, moved = len(ground_truth), []
    for _ in range(resamples):
        weights = np.bincount(rng.integers(0, images, images), minlength=images)
        before, after = (evaluate(*drawn(ground_truth, d, weights), iou_type="bbox").stats[:3] for d in (old, new))
        moved.append((after - before) * 100)
    ends: list[list[float]] = np.percentile(moved, [2.5, 97.5], axis=0).T.tolist()
    return ends


def crowded_set(images: int = 12) -> tuple[CocoGroundTruth, DetectionColumns, DetectionColumns]:
    """Objects of two classes, found well by an older detector and less well by a newer one."""
    rng = np.random.default_rng(3)
    owner = np.repeat(np.arange(images), 3)
    boxes = np.concatenate([rng.integers(0, 200, (len(owner), 2)), rng.integers(40, 90, (len(owner), 2))], axis=1)
    classes = rng.integers(0, 2, len(owner))
    ids = np.arange(images) + 1
    ground_truth = truth(boxes, images=owner, categories=classes, image_ids=ids, category_ids=[1, 2])

    def detect(blur: float) -> DetectionColumns:
        near = boxes + rng.normal(0, blur, boxes.shape)
        return found(near, rng.random(len(owner)), image_ids=ids[owner], category_ids=classes + 1)

    return ground_truth, detect(3), detect(9)


def test_intervals_are_those_of_the_slow_way() -> None:
    ground_truth, old, new = crowded_set()
    compared = compare_paired(ground_truth, old, new, resamples=40, seed=5)
    fast = [[number.low, number.high] for number in compared.numbers]
    assert np.array(fast) == pytest.approx(np.array(slowly(ground_truth, old, new, 40, 5)))
    assert [number.name for number in compared.numbers] == ["AP", "AP50", "AP75"]
    for side, name in ((old, "old"), (new, "new")):
        stats = evaluate(ground_truth, side, iou_type="bbox").stats[:3] * 100
        assert [getattr(number, name) for number in compared.numbers] == stats.tolist()
    assert compared.numbers[0].beyond_chance, "three times the blur is no chance"
    assert compared.numbers[0].low is not None
    assert compared.numbers[0].high is not None
    assert compared.numbers[0].low < compared.numbers[0].delta < compared.numbers[0].high < 0


def test_another_seed_draws_other_images_and_the_same_one_the_same() -> None:
    ground_truth, old, new = crowded_set()
    first, again, other = (compare_paired(ground_truth, old, new, resamples=20, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.numbers[0].low != other.numbers[0].low


def ends(compared: PairedComparison) -> set[float | None]:
    return {end for change in (*compared.numbers, *compared.classes) for end in (change.low, change.high)}


def test_equal_detections_move_nothing() -> None:
    ground_truth, old, _ = crowded_set()
    compared = compare_paired(ground_truth, old, old, resamples=25)
    assert ends(compared) == {0.0}
    assert {change.delta for change in (*compared.numbers, *compared.classes)} == {0.0}
    assert compared.moved == ()
    assert not compared.numbers[0].beyond_chance


def test_one_image_of_two_lost_its_object() -> None:
    # Old finds both cats, new only the first: recall ends at 1/2, which 51 of the 101 points reach.
    ground_truth = truth([[0, 0, 40, 40], [0, 0, 40, 40]], images=[0, 1], image_ids=(4, 9))
    ground_truth = replace(ground_truth, category_names=["cat"])
    old = found([[0, 0, 40, 40], [0, 0, 40, 40]], [0.9, 0.8], image_ids=[4, 9])
    new = found([[0, 0, 40, 40], [200, 200, 40, 40]], [0.9, 0.8], image_ids=[4, 9])
    compared = compare_paired(ground_truth, old, new, resamples=200)
    assert [(change.image_id, change.file_name, change.objects) for change in compared.moved] == [(9, "9.jpg", 1)]
    assert (compared.moved[0].old, compared.moved[0].new) == pytest.approx((100, 0))
    (cat,) = compared.classes
    assert cat.name == "cat"
    assert (cat.old, cat.new) == pytest.approx((100, 100 * 51 / 101))
    # A resample has the second image never, once or twice: AP moves by 0, by -50/101 or by -1.
    assert (compared.numbers[0].low, compared.numbers[0].high) == pytest.approx((-100, 0))
    assert compared.images == 2


def test_what_moved_most_comes_first() -> None:
    # Image 1 loses one of two objects, image 2 its only one, image 3 nothing; image 4 has no object.
    boxes = [[0, 0, 40, 40], [100, 0, 40, 40], [0, 0, 40, 40], [0, 0, 40, 40]]
    ground_truth = truth(
        boxes, images=[0, 0, 1, 2], categories=[0, 1, 1, 1], image_ids=(1, 2, 3, 4), category_ids=(5, 6, 7)
    )
    old = found(boxes, [0.9] * 4, image_ids=[1, 1, 2, 3], category_ids=[5, 6, 6, 6])
    new = found([boxes[0], boxes[3], [300, 0, 9, 9]], [0.9] * 3, image_ids=[1, 3, 4], category_ids=[5, 6, 7])
    compared = compare_paired(ground_truth, old, new, resamples=10)
    assert [change.image_id for change in compared.moved] == [2, 1]
    assert [change.delta for change in compared.moved] == pytest.approx([-100, -100 * 50 / 101])
    assert [change.name for change in compared.classes] == ["c6", "c5"], "c7 has no object, and so no AP"
    assert compared.classes[1].delta == 0


def test_a_class_that_no_resample_has_gets_no_interval() -> None:
    ids = np.arange(40) + 1
    ground_truth = truth(
        [[0, 0, 40, 40]] * 40, images=range(40), categories=[0] * 39 + [1], image_ids=ids, category_ids=(5, 6)
    )
    compared = compare_paired(ground_truth, found([], []), found([], []), resamples=1, seed=0)
    assert [(change.name, change.low, change.high) for change in compared.classes] == [("c5", 0, 0), ("c6", None, None)]


def test_an_image_counts_false_positives_of_classes_that_it_does_not_have() -> None:
    ground_truth = truth([[0, 0, 40, 40]], category_ids=(1, 2))
    right = found([[0, 0, 40, 40]], [0.8])
    both = found([[0, 0, 40, 40], [90, 90, 9, 9]], [0.8, 0.9], category_ids=[1, 2])
    compared = compare_paired(ground_truth, right, both, resamples=5)
    assert compared.numbers[0].delta == 0, "class 2 has no object and no AP"
    assert [(change.old, change.new) for change in compared.moved] == [pytest.approx((100, 50))]


def test_without_objects_there_is_nothing_to_compare() -> None:
    with pytest.raises(DataError, match="no objects to find"):
        compare_paired(truth([]), found([], []), found([], []))


def test_a_resample_without_any_object_says_nothing() -> None:
    ground_truth = truth([[0, 0, 40, 40]], images=[0], image_ids=(1, 2))
    compared = compare_paired(ground_truth, found([], []), found([[0, 0, 40, 40]], [0.9]), resamples=50)
    assert sorted(end for end in ends(compared) if end is not None) == pytest.approx([100.0] * len(ends(compared)))
