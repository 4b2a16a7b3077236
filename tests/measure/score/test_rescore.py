"""Stored detections scored by another rule: the same numbers as of files that were changed by hand."""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import scored_set
from scored_set import Row, Rows, detections

from zoo.data.coco import CocoGroundTruth
from zoo.errors import DataError
from zoo.measure.coco_eval.summary import Rounding, coco_numbers
from zoo.measure.score.rescore import Rescoring, StoredRun
from zoo.measure.score.results_file import read_predictions


def annotated(change: Callable[[Row], Row | None]) -> dict[str, Any]:
    """The annotations with a crowd in every third image, each object changed or left out."""
    document: dict[str, Any] = copy.deepcopy(scored_set.truth())
    for one in document["annotations"]:
        one["iscrowd"] = int(one["id"] % 7 == 0)
    document["annotations"] = [new for one in document["annotations"] if (new := change(one)) is not None]
    return document


def unchanged(one: Row) -> Row:
    return one


def numbers(folder: Path, rows: Rows, document: dict[str, Any]) -> dict[str, Any]:
    """What pycocotools gives for detections and annotations."""
    predictions, truth = folder / "by_hand.json", folder / "truth_by_hand.json"
    predictions.write_text(json.dumps(rows), encoding="utf-8")
    truth.write_text(json.dumps(document), encoding="utf-8")
    loaded = CocoGroundTruth.load(truth)
    return coco_numbers(loaded, read_predictions(predictions, loaded).columns, ("bbox",), "pycocotools")


@pytest.fixture
def stored(tmp_path: Path) -> StoredRun:
    predictions, _ = scored_set.write(tmp_path, detections())
    (tmp_path / "annotations.json").write_text(json.dumps(annotated(unchanged)), encoding="utf-8")
    truth = CocoGroundTruth.load(tmp_path / "annotations.json")
    columns = read_predictions(predictions, truth).columns
    return StoredRun(truth=truth, detections=columns, iou_types=("bbox",), rounding=Rounding(box=3), root=tmp_path)


def rounded(row: Row, box: int = 3, score: int | None = None) -> Row:
    bbox = [round(side, box) for side in row["bbox"]]
    return {**row, "bbox": bbox, "score": row["score"] if score is None else round(row["score"], score)}


def ten_best(rows: Rows) -> Rows:
    by_image: dict[int, Rows] = defaultdict(list)
    for row in rows:
        by_image[row["image_id"]].append(row)
    kept = [row for group in by_image.values() for row in sorted(group, key=lambda row: -row["score"])[:10]]
    return [row for row in rows if row in kept]


def test_by_its_own_rules(stored: StoredRun, tmp_path: Path) -> None:
    assert stored.own_rules() == Rescoring(box_decimals=3)
    by_hand = numbers(tmp_path, [rounded(row) for row in detections()], annotated(unchanged))
    assert stored.score(stored.own_rules()) == by_hand


@pytest.mark.parametrize(
    ("rules", "change"),
    [
        (Rescoring(score_threshold=0.3), lambda rows: [row for row in rows if row["score"] >= 0.3]),
        (Rescoring(max_detections=10), ten_best),
        (Rescoring(box_decimals=0, score_decimals=1), lambda rows: [rounded(row, 0, 1) for row in rows]),
        (Rescoring(category_shift=1), lambda rows: [{**row, "category_id": row["category_id"] + 1} for row in rows]),
        (
            Rescoring(inclusive=True),
            lambda rows: [{**row, "bbox": [x, y, w + 1, h + 1]} for row in rows for x, y, w, h in [row["bbox"]]],
        ),
    ],
)
def test_other_detections(stored: StoredRun, tmp_path: Path, rules: Rescoring, change: Callable[[Rows], Rows]) -> None:
    given = stored.score(rules)
    assert given == numbers(tmp_path, change(detections()), annotated(unchanged))
    assert given["box_AP"] != stored.score(Rescoring())["box_AP"]


def test_other_annotations(stored: StoredRun, tmp_path: Path) -> None:
    plain = stored.score(Rescoring())
    dropped = annotated(lambda one: None if one["iscrowd"] else one)
    assert stored.score(Rescoring(crowds="dropped")) == numbers(tmp_path, detections(), dropped)
    objects = annotated(lambda one: {**one, "iscrowd": 0})
    assert stored.score(Rescoring(crowds="objects")) == numbers(tmp_path, detections(), objects)
    shifted = annotated(lambda one: {**one, "bbox": [one["bbox"][0] + 4, *one["bbox"][1:]]})
    (tmp_path / "corrected.json").write_text(json.dumps(shifted), encoding="utf-8")
    corrected = stored.score(Rescoring(annotations="corrected.json"))
    assert corrected == numbers(tmp_path, detections(), shifted)
    assert corrected["box_AP"] != plain["box_AP"]


def test_annotations_of_other_images_are_refused(stored: StoredRun, tmp_path: Path) -> None:
    document = annotated(unchanged)
    document["images"] = [{**image, "id": image["id"] + 1000} for image in document["images"]]
    document["annotations"] = [{**one, "image_id": one["image_id"] + 1000} for one in document["annotations"]]
    (tmp_path / "other.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(DataError, match=r"other\.json is of other images"):
        stored.score(Rescoring(annotations="other.json"))
