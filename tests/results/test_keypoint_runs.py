"""A run that found keypoints, from its detections to its record, table, verdict, report, differences and re-scoring."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import cell, make_entry, make_record
from person_keypoints import add_keypoints, find_keypoints, pose_of
from stored_runs import ANNOTATIONS, detect, store
from subjects import make_subject

from zoo import console
from zoo.coco_tasks import TASKS, IouType
from zoo.data.coco import CocoGroundTruth
from zoo.measure.accuracy import accuracy, make_metric
from zoo.measure.coco_eval.columns import DetectionColumns
from zoo.measure.score.rescore import Rescoring, StoredRun
from zoo.measure.score.results_file import read_predictions
from zoo.results.compare.by_image import by_image_lines, compare_by_image
from zoo.results.report.detections import DetectionViews
from zoo.results.run_folder import StoredDetections
from zoo.results.seeds import aggregate_seeds
from zoo.results.table import frame
from zoo.results.verdict import judge

KINDS: tuple[IouType, ...] = ("bbox", "keypoints")


@pytest.fixture(scope="module")
def data(few_shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images of the embedded data set, whose objects have keypoints."""
    root = tmp_path_factory.mktemp("data")
    (root / "val").symlink_to(few_shapes / "val", target_is_directory=True)
    document = json.loads((few_shapes / ANNOTATIONS).read_text(encoding="utf-8"))
    truth = add_keypoints(CocoGroundTruth.load(few_shapes / ANNOTATIONS))
    assert truth.keypoints is not None
    points = dict(zip(truth.annotation_ids.tolist(), truth.keypoints, strict=True))
    for row in document["annotations"]:
        row |= {"keypoints": points[row["id"]].ravel().tolist(), "num_keypoints": 17}
    (root / "annotations").mkdir()
    (root / ANNOTATIONS).write_text(json.dumps(document), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def truth(data: Path) -> CocoGroundTruth:
    return CocoGroundTruth.load(data / ANNOTATIONS)


def found_in(truth: CocoGroundTruth, seed: int = 0) -> DetectionColumns:
    return replace(pose_of(detect(truth, seed)), segmentation=None)


def test_a_run_measures_keypoints_and_writes_them(few_shapes: Path, tmp_path: Path) -> None:
    overrides = ["data.limit=1", "protocol.transform.size_rule={long:64,short:48}"]
    plain = make_subject("shapes_faster_rcnn_r10_fpn", few_shapes, tmp_path, overrides)
    subject = find_keypoints(plain)
    measured = accuracy(subject)
    names = [f"keypoint_{name}" for name in TASKS["keypoints"].stats]
    assert set(names) <= measured.keys()
    assert list(measured["per_class"]) == ["box_AP", "keypoint_AP"]  # type: ignore[call-overload]
    rows = json.loads((tmp_path / "predictions.json").read_text(encoding="utf-8"))
    assert {len(row["keypoints"]) for row in rows} == {51}
    read = read_predictions(tmp_path / "predictions.json", subject.ground_truth)
    reference = replace(subject, options={**subject.options, "evaluator": "pycocotools"})
    assert accuracy(reference) == measured
    assert read.iou_types == KINDS
    without = make_metric(subject.detector, plain.ground_truth, subject.protocol)
    assert without.iou_types == ("bbox",), "annotations without keypoints"


def test_a_published_keypoint_ap_is_judged() -> None:
    measured = {"box_AP": 54.61, "keypoint_AP": 65.02, "keypoint_AP50": 86.1, "keypoint_AP_large": 72.0}
    entry = make_entry(cell("54.6"), cell("65.0", "keypoint_AP"))
    record = make_record(measured=measured)
    verdicts = judge(record, entry)
    assert verdicts["keypoint_AP"].verdict == "EXACT"
    assert verdicts["keypoint_AP"].delta == pytest.approx(0.02)
    (row,) = frame([record], {"mmdet_a": entry}).to_dict("records")
    assert (row["published_keypoint_AP"], row["keypoint_AP"]) == ("65.0", "65.02")
    assert (row["keypoint_delta"], row["keypoint_verdict"], row["mask_AP"]) == ("+0.02", "EXACT", "")
    record.verdict = dict(verdicts)
    assert console.answer(record, entry) == ("EXACT", "54.61 against 54.6, keypoints 65.02 against 65.0")
    missed = make_record(measured={"box_AP": 54.61, "keypoint_AP": 60.0})
    assert judge(missed, entry)["keypoint_AP"].verdict == "DRIFT"


def test_seeds_are_averaged() -> None:
    draws = [{"box_AP": 50.0, "keypoint_AP": 60.0 + seed} for seed in (0, 1)]
    runs = [make_record(measured=numbers, trained=True, seed=seed) for seed, numbers in enumerate(draws)]
    (merged,) = aggregate_seeds(runs)
    assert merged.number("keypoint_AP") == 60.5


def test_the_report_draws_keypoints_and_sorts_their_errors(tmp_path: Path, data: Path, truth: CocoGroundTruth) -> None:
    record = store(tmp_path / "outputs" / "one", truth, found_in(truth), types=KINDS)
    view = DetectionViews([tmp_path / "outputs"], [data]).of(record)
    assert view.missing is None
    assert [curves.of for curves in view.curves] == [table.of for table in view.errors] == ["box", "keypoint"]
    assert np.mean(view.curves[1].mean["0.5:0.95"]) * 100 == pytest.approx(record.number("keypoint_AP"))
    assert view.chosen.startswith("The images with the costliest keypoint errors")
    boxes_alone = DetectionViews([tmp_path / "boxes"], [data]).of(
        store(tmp_path / "boxes" / "one", truth, found_in(truth), types=["bbox"])
    )
    limbs = [sum(image.markup.count("L") for image in shown.images) for shown in (view, boxes_alone)]
    assert limbs[0] > limbs[1] + 19 * len(view.images), "at least one skeleton an image"


def test_two_runs_are_compared_by_their_keypoints(tmp_path: Path, data: Path, truth: CocoGroundTruth) -> None:
    folders = tmp_path / "old", tmp_path / "new"
    records = [store(folder, truth, found_in(truth, seed), types=KINDS) for seed, folder in enumerate(folders)]
    old, new = (StoredDetections(record=record, folder=at) for record, at in zip(records, folders, strict=True))
    compared = compare_by_image(old, new, data=[data])
    assert [one.iou_type for one in compared] == list(KINDS)
    metrics = {line["metric"] for line in by_image_lines(compared)}
    assert {"box_AP", "keypoint_AP", "keypoint_AP50", "keypoint_AP75"} <= metrics


def test_stored_keypoints_are_scored_again(tmp_path: Path, truth: CocoGroundTruth) -> None:
    detections = found_in(truth)
    run = StoredRun(truth=truth, detections=detections, iou_types=KINDS, rounding=None, root=tmp_path)
    record = store(tmp_path / "one", truth, detections, types=KINDS)
    again: dict[str, Any] = run.score(run.own_rules())
    assert again["keypoint_AP"] == record.number("keypoint_AP")
    best = run.score(Rescoring(score_threshold=0.5))
    assert best["keypoint_AP"] < again["keypoint_AP"]
