"""The kinds of errors: worked by hand, and what must hold of any detector.

AP is the mean of 101 samples of precision at recall 0, 0.01 ... 1: one hit of two objects fills 51 of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scored_set
from coco_sets import compressed, found, random_masks, random_set, truth

from zoo.data.coco import CocoGroundTruth
from zoo.errors import ZooError
from zoo.measure.coco_eval.errors import (
    ERROR_KINDS,
    HIT,
    MEANINGS,
    NOT_COUNTED,
    DetectionErrors,
    ErrorKind,
    find_errors,
)
from zoo.measure.coco_eval.evaluate import evaluate
from zoo.measure.score.results_file import read_predictions

A, B, C = (0, 0, 100, 100), (200, 0, 100, 100), (0, 200, 100, 100)
NEAR_B = (260, 0, 100, 100)  # 40 x 100 of 16,000: IoU 0.25
NOWHERE = (300, 300, 50, 50)
HALF = 51 / 101 * 100
NO_ERRORS = dict.fromkeys(ERROR_KINDS, 0)


def kinds(errors: DetectionErrors) -> list[str]:
    """The kind of each detection by name, in their order."""
    names = {HIT: "hit", NOT_COUNTED: "not counted"}
    return [names.get(kind) or ERROR_KINDS[kind] for kind in errors.kind.tolist()]


# Two objects A and B of class 1, and C of class 2 where there is one; boxes, scores and classes of detections; AP50
# without the error, and with it.
WORKED: dict[str, tuple[bool, list[Any], list[float], list[int], float, float]] = {
    "classification": (False, [A, B], [0.9, 0.8], [1, 2], 100, HALF),
    "localisation": (False, [A, NEAR_B], [0.9, 0.8], [1, 1], 100, HALF),
    # Class 1 has a false positive of the highest score: precision 1/2, then 2/3, which counts at all recalls.
    "both": (True, [(60, 200, 100, 100), A, B, C], [0.95, 0.9, 0.8, 0.9], [1, 1, 1, 2], 100, (200 / 3 + 100) / 2),
    # Between the hits: precision 1 at 51 recalls, 2/3 at the others.
    "duplicate": (False, [A, (0, 0, 100, 90), B], [0.9, 0.8, 0.7], [1, 1, 1], 100, (51 + 50 * 2 / 3) / 101 * 100),
    "background": (False, [NOWHERE, A, B], [0.95, 0.9, 0.8], [1, 1, 1], 100, 200 / 3),
    "missed": (False, [A], [0.9], [1], 100, HALF),
}


@pytest.mark.parametrize("kind", ERROR_KINDS)
def test_each_kind_alone(kind: ErrorKind) -> None:
    with_c, boxes, scores, classes, without, ap50 = WORKED[kind]
    objects = truth([A, B, C], categories=[0, 0, 1], category_ids=(1, 2)).without(np.array([False, False, not with_c]))
    errors = find_errors(objects, found(boxes, scores, category_ids=classes))
    assert errors.counts == NO_ERRORS | {kind: 1}
    assert errors.ap50 == pytest.approx(ap50)
    assert errors.cost == pytest.approx(NO_ERRORS | {kind: without - ap50})
    assert MEANINGS[kind]


def test_all_kinds_at_once() -> None:
    objects = truth([A, B, C, (150, 150, 40, 40)], categories=[0, 0, 1, 0], category_ids=(1, 2))
    boxes = [A, A, NEAR_B, C, (60, 200, 100, 100), NOWHERE]
    errors = find_errors(objects, found(boxes, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], category_ids=[1, 1, 1, 1, 1, 2]))
    assert kinds(errors) == ["hit", "duplicate", "localisation", "classification", "both", "background"]
    assert errors.target.tolist() == [0, -1, 1, 2, -1, -1]
    assert errors.missed.tolist() == [False, False, False, True]
    assert errors.hits == 1
    # Class 1: one hit of three objects, 34 recalls, before all else. Class 2: nothing but a false positive.
    assert errors.ap50 == pytest.approx(34 / 101 * 100 / 2)
    # Class 2 begins with a hit, of one object.
    assert errors.cost["classification"] == pytest.approx(50)
    # Class 1 has a hit, a false positive, a hit: 2/3 at recall 0.34 to 0.66.
    assert errors.cost["localisation"] == pytest.approx(33 * 2 / 3 / 101 * 100 / 2)
    # Two objects in class 1, not three: 51 recalls.
    assert errors.cost["missed"] == pytest.approx(17 / 101 * 100 / 2)
    assert [errors.cost[kind] for kind in ("both", "duplicate", "background")] == [0, 0, 0], "all after the only hit"
    assert errors.ap50_without(*ERROR_KINDS) == pytest.approx(100)


@pytest.mark.parametrize(
    ("height", "category", "kind"),
    [
        (50, 1, "hit"),
        (49.99, 1, "localisation"),
        (10, 1, "localisation"),
        (9.99, 1, "background"),
        (50, 2, "classification"),
        (49.99, 2, "both"),
        (10, 2, "both"),
        (9.99, 2, "background"),
    ],
)
def test_thresholds_belong_to_the_nearer_kind(height: float, category: int, kind: str) -> None:
    errors = find_errors(truth([A], category_ids=(1, 2)), found([(0, 0, 100, height)], [0.9], category_ids=category))
    assert kinds(errors) == [kind], "an overlap of height / 100"


def test_what_is_on_a_crowd_counts_for_nothing() -> None:
    objects = truth([A, (200, 0, 200, 200)], crowd=[False, True], category_ids=(1, 2))
    boxes = [(250, 50, 50, 50), (250, 50, 50, 50), (260, 50, 50, 50), A]
    errors = find_errors(objects, found(boxes, [0.9, 0.8, 0.7, 0.6], category_ids=[1, 2, 1, 1]))
    assert kinds(errors) == ["not counted", "background", "not counted", "hit"]
    assert errors.counts == NO_ERRORS | {"background": 1}, "a crowd is never missed"
    assert errors.ap50 == pytest.approx(100)


def test_of_two_detections_on_an_object_the_higher_score_is_the_hit() -> None:
    errors = find_errors(truth([A]), found([A, (0, 0, 100, 60)], [0.8, 0.9]))
    assert kinds(errors) == ["duplicate", "hit"]


def test_one_object_can_have_a_wrong_class_and_a_wrong_place() -> None:
    errors = find_errors(truth([B], category_ids=(1, 2)), found([B, NEAR_B], [0.8, 0.9], category_ids=[2, 1]))
    assert errors.counts == NO_ERRORS | {"classification": 1, "localisation": 1}
    assert errors.ap50 == 0
    assert errors.missed.tolist() == [False]
    assert errors.cost["localisation"] == pytest.approx(100)
    assert errors.cost["classification"] == 0, "the object is for the higher score"
    assert errors.ap50_without("classification", "localisation") == pytest.approx(100), "the other disappears"


def test_only_the_best_error_about_an_object_is_put_right() -> None:
    errors = find_errors(truth([B]), found([NEAR_B, (265, 0, 100, 100)], [0.8, 0.9]))
    assert errors.counts == NO_ERRORS | {"localisation": 2}
    assert errors.cost["localisation"] == pytest.approx(100), "the other disappears"


def test_an_error_about_an_object_that_has_a_hit_disappears() -> None:
    errors = find_errors(truth([B, C]), found([NEAR_B, B, C], [0.9, 0.8, 0.7]))
    assert kinds(errors) == ["localisation", "hit", "hit"]
    assert errors.cost["localisation"] == pytest.approx(100 - 200 / 3)


def test_images_without_objects_and_without_detections() -> None:
    objects = truth([A, B], images=[0, 2], image_ids=(3, 5, 8))
    errors = find_errors(objects, found([A, A], [0.9, 0.8], image_ids=[5, 3]))
    assert kinds(errors) == ["background", "hit"]
    assert errors.missed.tolist() == [False, True]


def test_no_detections_miss_everything() -> None:
    errors = find_errors(truth([A, B]), found([], []))
    assert errors.counts == NO_ERRORS | {"missed": 2}
    assert errors.ap50 == 0
    assert errors.cost == NO_ERRORS | {"missed": 100}


def test_a_missed_class_with_false_positives_is_not_right_without_its_objects() -> None:
    errors = find_errors(truth([A]), found([NOWHERE], [0.9]))
    assert errors.cost == NO_ERRORS
    assert errors.ap50_without("missed", "background") == 100


def test_no_objects_no_ap() -> None:
    errors = find_errors(truth([(0, 0, 300, 300)], crowd=[True]), found([NOWHERE], [0.9]))
    assert errors.ap50 is None
    assert errors.counts == NO_ERRORS | {"background": 1}
    assert errors.cost == NO_ERRORS
    assert errors.ap50_without(*ERROR_KINDS) is None
    assert find_errors(truth([]), found([], [])).counts == NO_ERRORS


def test_beyond_the_limit_and_of_unknown_categories_nothing_counts() -> None:
    scores = np.linspace(0.9, 0.1, 102)
    errors = find_errors(truth([A]), found([NOWHERE] * 100 + [A, A], scores, category_ids=[1] * 101 + [7]))
    assert kinds(errors) == ["background"] * 100 + ["not counted"] * 2
    assert errors.missed.tolist() == [True], "the 101st detection does not count"
    assert errors.ap50_without("background") == 0, "nor does it when others disappear"


def test_masks_have_errors_of_their_own() -> None:
    left, right, part = np.zeros((3, 40, 40), dtype=np.uint8)
    left[:20, :10], right[:20, 10:20], part[:20, 6:16] = 1, 1, 1  # part overlaps 4 of 16 columns of left
    objects = truth([(0, 0, 20, 20)], segmentations=[compressed(left)], size=40)
    boxes, masks = [(0, 0, 20, 20)] * 2, [compressed(right), compressed(part)]
    detections = found(boxes, [0.9, 0.8], masks=masks)
    assert kinds(find_errors(objects, detections)) == ["hit", "duplicate"]
    errors = find_errors(objects, detections, iou_type="segm")
    assert kinds(errors) == ["background", "localisation"]
    assert errors.cost == pytest.approx(NO_ERRORS | {"localisation": 50})


def test_masks_that_are_not_there_are_an_error() -> None:
    with pytest.raises(ZooError, match="no masks"):
        find_errors(truth([A]), found([A], [0.9]), iou_type="segm")


def hold_of_any_detector(errors: DetectionErrors, ap50: float, detections: int) -> None:
    counted = detections - kinds(errors).count("not counted")
    assert errors.hits + sum(errors.counts[kind] for kind in ERROR_KINDS if kind != "missed") == counted
    if ap50 < 0:  # COCO's -1 for nothing to find
        assert errors.ap50 is None
        return
    assert errors.ap50 == pytest.approx(ap50 * 100)
    assert min(errors.cost.values()) >= -1e-9, "no fix can hurt"
    assert errors.ap50_without(*ERROR_KINDS) == pytest.approx(100)
    assert errors.ap50_without() == errors.ap50


@pytest.mark.parametrize("seed", range(60))
def test_what_holds_of_any_boxes(seed: int) -> None:
    objects, detections = random_set(seed)
    errors = find_errors(objects, detections)
    hold_of_any_detector(errors, evaluate(objects, detections, iou_type="bbox").stats[1], len(detections))
    taken = errors.target[errors.kind == HIT]
    assert len(set(taken.tolist())) == len(taken), "an object has one hit"
    assert not objects.is_crowd[taken].any()
    assert not errors.missed[taken].any()


@pytest.mark.parametrize("seed", range(10))
def test_what_holds_of_any_masks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bitmaps = random_masks(rng, 40, 48)
    objects = truth(
        rng.integers(0, 40, (12, 4)),
        images=rng.integers(0, 2, 12),
        categories=rng.integers(0, 2, 12),
        image_ids=(1, 2),
        category_ids=(1, 2),
        areas=bitmaps[:12].sum(axis=(1, 2)),
        crowd=rng.random(12) < 0.2,
        segmentations=[compressed(bitmap) for bitmap in bitmaps[:12]],
        size=48,
    )
    columns = {"image_ids": rng.integers(1, 3, 28), "category_ids": rng.integers(1, 3, 28)}
    masks = [compressed(bitmap) for bitmap in bitmaps[12:]]
    detections = found(rng.integers(1, 40, (28, 4)), rng.random(28), masks=masks, **columns)
    errors = find_errors(objects, detections, iou_type="segm")
    hold_of_any_detector(errors, evaluate(objects, detections, iou_type="segm").stats[1], len(detections))


def test_a_whole_set_has_the_numbers_of_the_authors_toolbox(tmp_path: Path) -> None:
    predictions, annotations = scored_set.write(tmp_path, scored_set.detections())
    objects = CocoGroundTruth.load(annotations)
    errors = find_errors(objects, read_predictions(predictions, objects).columns)
    # What tidecv 1.0.1 gives for the same two files.
    counts = {"classification": 44, "localisation": 44, "both": 163, "duplicate": 1, "background": 239, "missed": 69}
    costs = (19.762, 3.275, 0.057, 0.0, 0.097, 15.838)
    assert errors.counts == counts
    assert errors.ap50 == pytest.approx(50.650, abs=5e-4)
    assert errors.cost == pytest.approx(dict(zip(ERROR_KINDS, costs, strict=True)), abs=5e-4)


def test_an_error_is_about_the_nearest_object() -> None:
    apart = [(0, 0, 100, 100), (100, 0, 100, 100)]
    between = [(40, 0, 100, 100), (60, 0, 100, 100), (50, 0, 100, 100)]  # IoU 0.43 and 0.25, and equal ones
    errors = find_errors(truth(apart), found(between, [0.9, 0.8, 0.7]))
    assert kinds(errors) == ["localisation"] * 3
    assert errors.target.tolist() == [0, 1, 0], "the first of equals"
    of_others = [(30, 0, 100, 100), (70, 0, 100, 100)]  # IoU 0.54
    errors = find_errors(truth(apart, category_ids=(1, 2)), found(of_others, [0.9, 0.8], category_ids=2))
    assert kinds(errors) == ["classification"] * 2
    assert errors.target.tolist() == [0, 1]
