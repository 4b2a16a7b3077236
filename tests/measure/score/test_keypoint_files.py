"""Files of keypoints: scored as pycocotools scores them, with or without boxes, and their classic mistakes named."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scored_set
from person_keypoints import pose
from scored_set import Rows

from zoo import cli
from zoo.coco_tasks import TASKS
from zoo.data import dataset
from zoo.data.coco import CocoGroundTruth
from zoo.data.keypoints import flipped_order
from zoo.errors import DataError
from zoo.measure.coco_eval.predictions import write_predictions
from zoo.measure.score.results_file import Predictions, read_predictions
from zoo.measure.score.score import Score, score_file


@cache
def persons() -> dict[str, Any]:
    """The made-up data set with keypoints in every box, but for one in ten."""
    document = copy.deepcopy(scored_set.truth())
    for i, row in enumerate(document["annotations"]):
        labelled = i % 10 != 0
        row["keypoints"] = pose(row["bbox"]).ravel().tolist() if labelled else [0] * 51
        row["num_keypoints"] = 17 if labelled else 0
    return document


@cache
def _detections() -> Rows:
    rng = np.random.default_rng(5)
    rows = scored_set.detections()
    for row in rows:
        off = rng.normal(0, 0.02, (17, 2)) * row["bbox"][2:]
        points = pose(row["bbox"])[0]
        points[:, :2] += off
        points[:, 2] = rng.normal(2, 3, 17)
        row["keypoints"] = points.ravel().tolist()
    return rows


def detections(change: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray] | None = None) -> Rows:
    """The detections, with other keypoints: `change(keypoints (17, 3), box, size)` gives 51 numbers in any shape."""
    rows = copy.deepcopy(_detections())
    sizes = {image["id"]: np.array([image["width"], image["height"]]) for image in persons()["images"]}
    for row in rows if change else ():
        points = np.array(row["keypoints"]).reshape(17, 3)
        row["keypoints"] = np.ravel(change(points, np.array(row["bbox"]), sizes[row["image_id"]])).tolist()  # type: ignore[misc] # one of several signatures
    return rows


def without_boxes(rows: Rows) -> Rows:
    return [{key: value for key, value in row.items() if key != "bbox"} for row in rows]


def score(folder: Path, rows: Any, document: dict[str, Any] | None = None) -> Score:
    (folder / "predictions.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "annotations.json").write_text(json.dumps(document or persons()), encoding="utf-8")
    return score_file(folder / "predictions.json", folder / "annotations.json")


def said(found: Score) -> list[tuple[str, bool]]:
    return [(finding.kind, finding.refused) for finding in found.findings]


def by_pycocotools(folder: Path, rows: Rows) -> list[float | None]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with redirect_stdout(io.StringIO()):
        truth: Any = COCO(str(folder / "annotations.json"))
        evaluation: Any = COCOeval(truth, truth.loadRes(copy.deepcopy(rows)), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [None if value < 0 else value * 100 for value in evaluation.stats.tolist()]


def test_a_clean_file_has_pycocotools_numbers_and_no_finding(tmp_path: Path) -> None:
    found = score(tmp_path, detections())
    assert said(found) == []
    expected = by_pycocotools(tmp_path, without_boxes(detections()))
    assert [found.numbers[f"keypoint_{name}"] for name in TASKS["keypoints"].stats] == expected
    assert found.numbers["box_AP"] is not None
    alone = score(tmp_path, without_boxes(detections()))
    assert said(alone) == []
    assert {name: value for name, value in found.numbers.items() if name.startswith("keypoint")} == {
        name: value for name, value in alone.numbers.items() if name != "per_class"
    }, "a file of keypoints alone is scored by them alone"


MISTAKES: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]]] = {
    "rows before columns": ("keypoint axes", lambda points, _, __: points[:, [1, 0, 2]]),
    "left is right": ("keypoint order", lambda points, _, __: points[flipped_order(17)]),
    "x, then y": ("keypoint layout", lambda points, _, __: points.T),
    "shares": ("keypoints normalised", lambda points, _, size: points / [*size, 1]),
    "in the box": ("keypoint origin", lambda points, box, _: points - [*box[:2], 0]),
    "shares of the box": ("keypoints normalised", lambda points, box, _: (points - [*box[:2], 0]) / [*box[2:], 1]),
    "stretched": ("keypoints resized", lambda points, _, size: points * [*(416 / size), 1]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_keypoints_that_are_written_otherwise_are_refused(mistake: str, tmp_path: Path) -> None:
    kind, change = MISTAKES[mistake]
    found = score(tmp_path, detections(change))
    assert said(found)[0] == (kind, True)
    assert not found.numbers
    if "box" not in mistake:
        assert said(score(tmp_path, without_boxes(detections(change))))[0] == (kind, True)


def test_keypoints_of_chance_are_refused_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    anywhere = detections(lambda points, _, size: np.column_stack((rng.random((17, 2)) * size, points[:, 2])))
    found = score(tmp_path, anywhere)
    assert not any(refused for _, refused in said(found))
    assert found.numbers["keypoint_AP"] < 1


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    rows = detections()
    rows[7]["keypoints"][4] = float("nan")
    for spoilt in (rows, without_boxes(rows)):
        found = score(tmp_path, spoilt)
        assert said(found) == [("NaN", True)]
        assert "a keypoint that is not a finite number, the first at position 7" in found.findings[0].message


def test_keypoints_that_cannot_be_scored_are_a_warning(tmp_path: Path) -> None:
    found = score(tmp_path, detections(), scored_set.truth())
    assert said(found) == [("no keypoints", False)]
    assert "keypoint_AP" not in found.numbers
    rows = detections()
    del rows[3]["keypoints"]
    found = score(tmp_path, rows)
    assert said(found) == [("no keypoints", False)]
    assert f"1 of {len(rows)} detections have none" in found.findings[0].message


def test_a_row_is_judged_on_cocos_persons_as_they_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    document = persons()
    document = {**document, "categories": [{"id": 1, "name": "person"}]}
    document["annotations"] = [{**row, "category_id": 1} for row in document["annotations"]]
    (tmp_path / "annotations").mkdir()
    annotations_file = tmp_path / "annotations" / "person_keypoints_val2017.json"
    annotations_file.write_text(json.dumps(document), encoding="utf-8")
    rows = [{**row, "category_id": 1} for row in detections()]
    (tmp_path / "predictions.json").write_text(json.dumps(rows), encoding="utf-8")
    monkeypatch.setattr(dataset, "fetch_coco", lambda _: tmp_path)
    asked = ["score", str(tmp_path / "predictions.json"), "--entry", "torchvision_keypointrcnn_resnet50_fpn"]
    assert cli.main([*asked, "--data", "coco2017_keypoints", "--format", "json"]) == 0
    outcome = json.loads(capsys.readouterr().out)["verdicts"]["keypoint_AP"]
    assert (outcome["published"], outcome["verdict"]) == ("65.0", "DRIFT")
    assert cli.main([*asked, "--data", str(annotations_file), "--format", "json"]) == 0
    outcome = json.loads(capsys.readouterr().out)["verdicts"]["keypoint_AP"]
    assert outcome["verdict"] == "NOT-COMPARED"
    assert outcome["reason"].endswith("whose hash is on no record: give --data coco2017_keypoints")


def test_at_most_20_count(tmp_path: Path) -> None:
    best = sorted(without_boxes(detections()), key=lambda row: -row["score"])
    capped = [row for i, row in enumerate(best) if sum(o["image_id"] == row["image_id"] for o in best[:i]) < 6]
    found = score(tmp_path, capped)
    assert said(found) == [("cap", False)]
    assert "keep up to 20 detections" in found.findings[0].fix


def test_faults_are_named(tmp_path: Path) -> None:
    rows = detections()
    rows[2]["keypoints"] = rows[2]["keypoints"][:34]
    with pytest.raises(DataError, match=r"detection 2 .* a 'keypoints' that is not a list of 51 numbers"):
        score(tmp_path, rows)
    with pytest.raises(DataError, match=r"detection 0 .* has no 'bbox'"):
        score(tmp_path, without_boxes(detections()), scored_set.truth())


def test_written_predictions_read_back(tmp_path: Path) -> None:
    score(tmp_path, detections())
    truth = CocoGroundTruth.load(tmp_path / "annotations.json")
    read = read_predictions(tmp_path / "predictions.json", truth)
    write_predictions(read.columns, tmp_path / "again.json")
    again: Predictions = read_predictions(tmp_path / "again.json", truth)
    assert np.array_equal(again.columns.points(), read.columns.points())
    assert again.iou_types == ("bbox", "keypoints")
