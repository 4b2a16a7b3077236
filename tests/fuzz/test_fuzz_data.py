"""Annotation files and records, broken: what is read can be worked with, and everything else is told."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import fuzz

from zoo.data.augment import mmdet, ultralytics
from zoo.data.augment.source import LabeledImages
from zoo.data.coco import CocoGroundTruth
from zoo.errors import DataError
from zoo.measure.coco_eval.columns import DetectionColumns
from zoo.measure.coco_eval.evaluate import evaluate
from zoo.results.diff import diff_rows, entries_of, render_diff
from zoo.results.ledger import Ledger
from zoo.results.record import Record

PROJECT = Path(__file__).parents[2]
RECORDS = [
    (PROJECT / "tests/golden/records/version_1.json").read_text(encoding="utf-8"),
    *(path.read_text(encoding="utf-8") for path in sorted((PROJECT / "results/records").glob("*/shapes_*.json"))[:2]),
]
ANNOTATIONS: dict[str, Any] = {
    "images": [
        {"id": 3, "file_name": "a/3.jpg", "height": 20, "width": 40},
        {"id": 1, "file_name": "1.jpg", "height": 10, "width": 10},
    ],
    "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
    "annotations": [
        {"id": 5, "image_id": 3, "category_id": 18, "bbox": [1, 2, 3, 4], "area": 6.5, "iscrowd": 0}
        | {"segmentation": [[1, 2, 4, 2, 4, 6], [1, 2, 4, 6, 1, 6]]},
        {"id": 9, "image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 5], "area": 10, "iscrowd": 1}
        | {"segmentation": {"size": [10, 10], "counts": [0, 5, 5, 5, 85]}},
        {"id": 2, "image_id": 3, "category_id": 1, "bbox": [0.5, 0, 9, 9], "area": 81, "iscrowd": 0}
        | {"keypoints": [3, 4, 2] * 17, "num_keypoints": 17}
        | {"segmentation": {"size": [20, 40], "counts": "d09;0000000000000\\c0"}, "ignore": 1},
    ],
}


NOBODY = DetectionColumns(
    image_id=np.empty(0, np.int64), category_id=np.empty(0, np.int64), bbox=np.empty((0, 4)), score=np.empty(0)
)
"""No detections, which every annotation is evaluated with."""


@pytest.fixture(autouse=True)
def _no_warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, logger="zoo")


def test_annotations(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    files = [Path(name) for name in ("a", "b", "c")]

    def read(data: bytes) -> None:
        path.write_bytes(data)
        truth = CocoGroundTruth.load(path)
        for annotation, segmentation in enumerate(truth.segmentations):
            if segmentation is not None:
                height, width = truth.rle(annotation)["size"]
                assert (height, width) == truth.size_of(int(truth.image_index[annotation]))
        for rules in (mmdet.LABELS, ultralytics.LABELS):
            with suppress(DataError):  # an intact file, too, may show nothing to train on
                LabeledImages(truth, files[: len(truth)], rules)
        known = truth.with_categories(truth.category_names)
        if known.has_person_keypoints:
            nothing = np.empty((0, 17, 3))
            evaluate(known, replace(NOBODY, keypoints=nothing), iou_type="keypoints")

    fuzz("annotations", read, [ANNOTATIONS])


def test_the_annotations_are_whole_before_they_are_broken(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(ANNOTATIONS))
    truth = CocoGroundTruth.load(path)
    assert [truth.rle(annotation)["size"] for annotation in range(3)] == [[10, 10], [20, 40], [20, 40]]
    assert truth.image_ids.tolist() == [1, 3]


def test_records(tmp_path: Path) -> None:
    def read(data: bytes) -> None:
        record = Record.from_json(data.decode("utf-8", errors="replace"), where="record.json")
        assert Record.from_json(record.to_json(), where="again") == record
        if record.hardware_id is not None:
            assert Ledger(tmp_path).path(record).resolve().is_relative_to(tmp_path.resolve())
        render_diff(diff_rows([record], entries_of([record]))).encode()

    fuzz("records", read, RECORDS)
