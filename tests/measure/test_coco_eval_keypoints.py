"""COCO's evaluation of keypoints (OKS) against pycocotools, bit for bit, and against examples worked by hand."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from coco_sets import found, random_keypoint_set, truth
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval, Params

from zoo.coco_tasks import TASKS
from zoo.data.coco import CocoGroundTruth
from zoo.data.keypoints import KEYPOINT_NAMES, SIGMAS
from zoo.errors import DataError, ZooError
from zoo.measure.coco_eval.area_iou_bits import AREA_RANGES
from zoo.measure.coco_eval.columns import DetectionColumns
from zoo.measure.coco_eval.errors import find_errors
from zoo.measure.coco_eval.evaluate import CocoResult, evaluate, match_detections
from zoo.measure.coco_eval.oks import Poses, may_be_similar, similarities
from zoo.measure.coco_eval.paired import compare_paired
from zoo.measure.coco_eval.reference import as_dataset, as_results, evaluate_by_pycocotools
from zoo.measure.coco_eval.summary import coco_numbers


def both(ground_truth: CocoGroundTruth, detections: DetectionColumns, **limits: Any) -> CocoResult:
    """Our result, after it was found equal to pycocotools'."""
    ours = evaluate(ground_truth, detections, iou_type="keypoints", **limits)
    theirs = evaluate_by_pycocotools(ground_truth, detections, iou_type="keypoints", **limits)
    for name in ("precision", "recall", "scores", "stats"):
        mine, reference = getattr(ours, name), getattr(theirs, name)
        assert mine.shape == reference.shape
        assert np.array_equal(mine, reference), f"{name} differs in {np.sum(mine != reference)} places"
    return ours


def person(x: float = 100, y: float = 100, side: float = 100, *, visible: int = 17) -> list[list[float]]:
    """Keypoints on the diagonal of a square, the first ones of them labelled."""
    return [[x + side * i / 16, y + side * i / 16, 2] if i < visible else [0, 0, 0] for i in range(17)]


BOX = [100, 100, 100, 100]


def moved(keypoints: list[list[float]], by: float) -> list[list[float]]:
    """The keypoints some pixels to the right."""
    return [[x + by, y, v] for x, y, v in keypoints]


@pytest.mark.parametrize("seed", range(80))
def test_keypoints_give_the_bits_of_pycocotools(seed: int) -> None:
    both(*random_keypoint_set(seed))


def test_random_sets_are_neither_hopeless_nor_perfect() -> None:
    precision = [evaluate(*random_keypoint_set(seed), iou_type="keypoints").stats[0] for seed in range(60)]
    assert sum(0.05 < value < 0.95 for value in precision) > 20


@pytest.mark.parametrize("limits", [(20,), (1, 5, 20), (3,)])
def test_other_limits_give_the_bits_of_pycocotools(limits: tuple[int, ...]) -> None:
    for seed in range(300, 306):
        result = both(*random_keypoint_set(seed), max_detections=limits)
        assert 20 in limits or np.all(result.stats == -1), "COCO's summary of keypoints is at 20 detections alone"


def reference_matches(ground_truth: CocoGroundTruth, detections: DetectionColumns) -> dict[int, int]:
    """Position of a detection -> annotation id that pycocotools matches it to at 0.5, all sizes, ignored ones too."""
    with contextlib.redirect_stdout(io.StringIO()):
        annotations: Any = COCO()
        annotations.dataset = as_dataset(ground_truth)
        annotations.createIndex()
        evaluation: Any = COCOeval(annotations, annotations.loadRes(as_results(detections, "keypoints")), "keypoints")
        evaluation.evaluate()
    images = [one for one in evaluation.evalImgs if one is not None and one["aRng"] == evaluation.params.areaRng[0]]
    pairs = [pair for one in images for pair in zip(one["dtIds"], one["dtMatches"][0].tolist(), strict=True)]
    return {detection - 1: int(annotation) for detection, annotation in pairs if annotation}


@pytest.mark.parametrize("seed", [1, 2, 4, 11])
def test_the_matches_of_each_image_are_those_of_pycocotools(seed: int) -> None:
    ground_truth, detections = random_keypoint_set(seed)
    matched = match_detections(ground_truth, detections, "keypoints")
    has = np.flatnonzero(matched.target >= 0)
    ids = ground_truth.annotation_ids[matched.target[has]].tolist()
    ours = dict(zip(matched.ranking.input_index[has].tolist(), ids, strict=True))
    assert ours == reference_matches(ground_truth, detections)
    assert ours


def test_the_facts_are_those_of_pycocotools() -> None:
    params: Any = Params("keypoints")
    assert np.array_equal(params.kpt_oks_sigmas, SIGMAS)
    task = TASKS["keypoints"]
    assert tuple(params.maxDets) == task.max_detections
    assert params.areaRngLbl == ["all", *task.sizes]
    assert params.areaRng == [list(AREA_RANGES[size]) for size in ("all", *task.sizes)]


def test_similarity_worked_by_hand() -> None:
    # One labelled keypoint, the nose (sigma 0.026), d pixels off: OKS = exp(-d^2 / (2 area (2 sigma)^2)).
    ground_truth = truth([BOX], keypoints=[person(visible=1)], areas=[10000])
    for distance, thresholds in ((0.0, 10), (1.0, 10), (3.0, 7), (6.0, 1), (6.2, 0)):
        oks = np.exp(-(distance**2) / (2 * 10000 * 0.052**2))
        assert sum(oks >= threshold for threshold in np.linspace(0.5, 0.95, 10)) == thresholds
        result = both(ground_truth, found([BOX], [0.9], keypoints=[moved(person(), distance)]))
        assert result.stats[0] == pytest.approx(thresholds / 10)


@pytest.mark.parametrize("least", [0.1, 0.5])
def test_no_pair_is_left_out_that_is_similar(least: float) -> None:
    for seed in range(5):
        ground_truth, detections = random_keypoint_set(200 + seed)
        poses = Poses.of(ground_truth.require_keypoints(), ground_truth.boxes, ground_truth.areas)
        points = detections.points()
        detection, target = (side.ravel() for side in np.indices((len(points), len(poses.areas))))
        similar = np.flatnonzero(similarities(points, poses, detection, target) >= least)
        kept = may_be_similar(points, poses, detection, target, least)
        assert set(similar.tolist()) <= set(kept.tolist())
        assert len(kept) < len(target), "and it is of use"


def test_ten_numbers_by_their_names() -> None:
    ground_truth = truth([BOX], keypoints=[person()], areas=[5000])
    numbers = coco_numbers(ground_truth, found([BOX], [0.9], keypoints=[person()]), ["bbox", "keypoints"])
    names = [name for name in numbers if name.startswith("keypoint_")]
    short = [name.removeprefix("keypoint_") for name in names]
    assert short == ["AP", "AP50", "AP75", "AP_medium", "AP_large", "AR", "AR50", "AR75", "AR_medium", "AR_large"]
    assert [numbers[name] for name in names] == pytest.approx([100, 100, 100, 100, None, 100, 100, 100, 100, None])
    assert numbers["box_AP"] == pytest.approx(100)
    assert numbers["per_class"]["keypoint_AP"] == {"c1": pytest.approx(100)}


def test_an_object_without_keypoints_is_not_asked_for_and_takes_one_detection() -> None:
    # The second person has no keypoints: what lies inside of its doubled box counts for nothing, once.
    far = [300, 300, 40, 40]
    ground_truth = truth([BOX, far], keypoints=[person(), person(visible=0)], size=800)
    inside = person(280, 280, 80)
    one = both(ground_truth, found([far, BOX], [0.9, 0.8], keypoints=[inside, person()]))
    assert one.stats[0] == pytest.approx(1)
    two = both(ground_truth, found([far, far, BOX], [0.9, 0.85, 0.8], keypoints=[inside, inside, person()]))
    assert two.stats[0] == pytest.approx(0.5)
    outside = both(ground_truth, found([far, BOX], [0.9, 0.8], keypoints=[person(500, 500, 80), person()]))
    assert outside.stats[0] == pytest.approx(0.5)


def test_a_crowd_takes_any_number_of_detections() -> None:
    ground_truth = truth([BOX, [300, 300, 40, 40]], keypoints=[person(), person(visible=0)], crowd=[False, True])
    inside = person(280, 280, 80)
    assert both(ground_truth, found([BOX] * 3, [0.9, 0.85, 0.8], keypoints=[inside, inside, person()])).stats[5] == 1


def test_the_count_of_the_file_counts() -> None:
    ground_truth = truth([BOX], keypoints=[person()], num_keypoints=[0])
    assert np.all(both(ground_truth, found([BOX], [0.9], keypoints=[person()])).stats == -1)


def test_sizes_of_detections_are_those_of_their_keypoints() -> None:
    # The object is large, and nothing else is to be found: a miss of 90 x 90 pixels is of medium size, whatever its
    # box, and no error among large ones.
    ground_truth = truth([BOX], keypoints=[person()], areas=[10000])
    detections = found([BOX, [0, 0, 200, 200]], [0.8, 0.9], keypoints=[person(), person(300, 300, 90)])
    assert both(ground_truth, detections).stats[[0, 4]] == pytest.approx([0.5, 1])


def test_the_21st_detection_is_not_seen() -> None:
    misses = [person(1000, 1000, 50)] * 20
    scores = np.linspace(0.9, 0.1, 21)
    ground_truth = truth([BOX], keypoints=[person()])
    assert both(ground_truth, found([BOX] * 21, scores, keypoints=[*misses, person()])).stats[5] == 0
    assert both(ground_truth, found([BOX] * 20, scores[1:], keypoints=[*misses[1:], person()])).stats[5] == 1


def test_without_detections_and_without_objects() -> None:
    nobody = found([], [], keypoints=np.empty((0, 17, 3)))
    assert both(truth([BOX], keypoints=[person()]), nobody).stats[0] == 0
    nothing = truth([], keypoints=np.empty((0, 17, 3)))
    assert np.all(both(nothing, found([BOX], [0.9], keypoints=[person()])).stats == -1)


@pytest.mark.parametrize("evaluator", [evaluate, evaluate_by_pycocotools])
def test_what_cannot_be_evaluated(evaluator: Any) -> None:
    ground_truth, detections = truth([BOX], keypoints=[person()]), found([BOX], [0.9], keypoints=[person()])
    with pytest.raises(ZooError, match="no keypoints"):
        evaluator(ground_truth, found([BOX], [0.9]), iou_type="keypoints")
    with pytest.raises(DataError, match="annotations have no keypoints"):
        evaluator(truth([BOX]), detections, iou_type="keypoints")
    with pytest.raises(ZooError, match="a keypoint that is not a finite number"):
        evaluator(ground_truth, replace(detections, keypoints=np.full((1, 17, 3), np.inf)), iou_type="keypoints")
    with pytest.raises(DataError, match="other keypoints than COCO's 17 of a person: 4 keypoints"):
        evaluator(truth([BOX], keypoints=[person()[:4]]), detections, iou_type="keypoints")
    other = replace(ground_truth, keypoint_names=("tail", *KEYPOINT_NAMES[1:]))
    with pytest.raises(DataError, match="'tail' in the place of 'nose'"):
        evaluator(other, detections, iou_type="keypoints")
    spelled = replace(ground_truth, keypoint_names=tuple(name.replace("_", " ").title() for name in KEYPOINT_NAMES))
    assert evaluator(spelled, detections, iou_type="keypoints").stats[0] == pytest.approx(1)
    with pytest.raises(ZooError, match="detections have 5 keypoints"):
        evaluate(ground_truth, replace(detections, keypoints=detections.points()[:, :5]), iou_type="keypoints")


def test_errors_and_differences_are_those_of_keypoints() -> None:
    # Two persons and one without keypoints; a hit, one too far off, one that counts for nothing, one near nobody.
    boxes = [BOX, [300, 100, 100, 100], [100, 300, 100, 100]]
    persons = [person(), person(300), person(100, 300, visible=0)]
    ground_truth = truth(boxes, keypoints=persons, size=2000)
    points = [person(), moved(person(300), 15), person(100, 300), person(1000, 1000)]
    detections = found([*boxes, [1000, 1000, 100, 100]], [0.9, 0.8, 0.7, 0.6], keypoints=points)
    errors = find_errors(ground_truth, detections, iou_type="keypoints")
    counts = {kind: count for kind, count in errors.counts.items() if count}
    assert (errors.hits, counts) == (1, {"localisation": 1, "background": 1})
    assert errors.ap50_without("localisation") == pytest.approx(100)
    better = replace(detections, keypoints=np.array([person(), *persons[1:], person(1000, 1000)], dtype=float))
    compared = compare_paired(ground_truth, detections, better, iou_type="keypoints", resamples=5)
    [image] = compared.moved
    assert (image.objects, image.new > image.old) == (2, True)
    assert compared.numbers[0].new == pytest.approx(100)
