"""Files of detections: every fault is named with the detection that has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scored_set
from scored_set import detections

from zoo.data.coco import CocoGroundTruth
from zoo.errors import DataError
from zoo.measure.score.results_file import UNKNOWN, Predictions, read_predictions


def read(folder: Path, rows: Any) -> Predictions:
    predictions, truth = scored_set.write(folder, rows)
    return read_predictions(predictions, CocoGroundTruth.load(truth))


def test_columns_are_what_the_file_says(tmp_path: Path) -> None:
    columns = read(tmp_path, detections()).columns
    assert columns.image_id.tolist() == [row["image_id"] for row in detections()]
    assert columns.category_id.tolist() == [row["category_id"] for row in detections()]
    assert columns.bbox.tolist() == [row["bbox"] for row in detections()]
    assert columns.score.tolist() == [row["score"] for row in detections()]
    assert columns.segmentation is None


@pytest.mark.parametrize("spelled", ["photo_{:03}", "photo_{:03}.jpg", "{}"])
def test_images_by_their_names(spelled: str, tmp_path: Path) -> None:
    rows = [{**row, "image_id": spelled.format(row["image_id"])} for row in detections()]
    rows[0]["image_id"] = "nowhere.jpg"
    ids = read(tmp_path, rows).columns.image_id
    assert ids[0] == UNKNOWN
    assert ids[1:].tolist() == [row["image_id"] for row in detections()][1:]


ROW = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"annotations": [ROW]}, "is an object (annotations), not a list"),
        ({"a": 1}, "is an object (a), not a list"),
        (3, "is no list of detections"),
        ([ROW, 4], "detection 1 (the first is 0) is no object: 4"),
        (
            [ROW, {**ROW, "image_id": None}],
            "detection 1 (the first is 0) has a 'image_id' that is not an integer: None",
        ),
        ([ROW, {**ROW, "image_id": 2**70}], "detection 1 (the first is 0) has a 'image_id' beyond 64 bits"),
        ([{**ROW, "image_id": "a"}, ROW], "detection 1 (the first is 0) has a 'image_id' that is not a text"),
        ([{**ROW, "category_id": 1.5}], "has a 'category_id' that is not an integer: 1.5"),
        ([{**ROW, "category_id": True}], "has a 'category_id' that is not an integer: True"),
        ([{**ROW, "score": "0.5"}], "has a 'score' that is not a number: '0.5'"),
        ([{**ROW, "score": None}], "has a 'score' that is not a number: None"),
        ([{**ROW, "bbox": [1, 2, 3]}], "has a 'bbox' that is not a list of 4 numbers: [1, 2, 3]"),
        ([ROW, {**ROW, "bbox": [1, 2, 3]}], "detection 1 (the first is 0) has a 'bbox' that is not"),
        ([{**ROW, "bbox": [[1, 2, 3, 4]]}], "has a 'bbox' that is not a list of 4 numbers"),
        ([{key: ROW[key] for key in ("image_id", "category_id", "score")}], "has no 'bbox'"),
    ],
)
def test_faults_are_named(document: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, document)
    assert message in caught.value.message


@pytest.mark.parametrize("text", ["", "[{", "\xff", "[" * 100_000])
def test_what_is_no_json_is_said(text: str, tmp_path: Path) -> None:
    predictions, truth = scored_set.write(tmp_path, [])
    predictions.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match="is no JSON"):
        read_predictions(predictions, CocoGroundTruth.load(truth))
    with pytest.raises(DataError, match="no detections"):
        read_predictions(tmp_path / "nothing.json", CocoGroundTruth.load(truth))
    with pytest.raises(DataError, match="cannot read"):
        read_predictions(tmp_path, CocoGroundTruth.load(truth))


def with_masks(folder: Path, mask: Any) -> Predictions:
    truth = json.loads(json.dumps(scored_set.truth()))
    truth["images"][0] |= {"height": 2, "width": 3}
    truth["annotations"][0] |= {"image_id": 1, "segmentation": [[0, 0, 2, 0, 2, 2]]}
    (folder / "annotations.json").write_text(json.dumps(truth))
    (folder / "predictions.json").write_text(json.dumps([{**ROW, "segmentation": mask}]))
    return read_predictions(folder / "predictions.json", CocoGroundTruth.load(folder / "annotations.json"))


def test_masks_are_checked(tmp_path: Path) -> None:
    read_masks = with_masks(tmp_path, {"size": [2, 3], "counts": "06"}).columns.segmentation
    assert read_masks == [{"size": [2, 3], "counts": "06"}]
    for mask, message in (
        ([[1, 2, 3, 4, 5, 6]], "no compressed run-length encoding"),
        ({"size": [3, 2], "counts": "06"}, "its image is [2, 3]"),
        ({"size": [2, 3], "counts": "07"}, "a mask of 7 pixels; its image has 6"),
        ({"size": [2, 3], "counts": "\x7f"}, "a mask that cannot be read"),
    ):
        with pytest.raises(DataError) as caught:
            with_masks(tmp_path, mask)
        assert message in caught.value.message


def test_nothing_is_an_empty_file(tmp_path: Path) -> None:
    columns = read(tmp_path, []).columns
    assert len(columns) == 0
    assert columns.bbox.shape == (0, 4)
    assert columns.image_id.dtype == np.int64
