"""Folders of runs on a made-up data set, with their detections."""

from __future__ import annotations

import json
from pathlib import Path

import scored_set
from made_up import make_record

from zoo.data.coco import CocoGroundTruth
from zoo.measure.coco_eval.summary import coco_numbers
from zoo.measure.score.results_file import read_predictions
from zoo.results.record import Record

ANNOTATIONS = "annotations/instances_val.json"


def write_data(root: Path) -> None:
    """The annotations of the data set, in a folder of COCO's layout."""
    file = root / ANNOTATIONS
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(scored_set.truth()), encoding="utf-8")


def write_run(folder: Path, rows: scored_set.Rows, data: Path, *, root: str | None = None, images: int = 60) -> Record:
    """The folder of a run: its detections, and the record that fits them.

    Args:
        folder: made here.
        rows: detections, of which those in the first images are taken.
        data: root of the data set.
        root: what the record says of it; None for where it is.
        images: number of images.
    """
    folder.mkdir()
    predictions = folder / "predictions.json"
    predictions.write_text(json.dumps([row for row in rows if row["image_id"] <= images]), encoding="utf-8")
    truth = CocoGroundTruth.load(data / ANNOTATIONS).subset(images)
    numbers = coco_numbers(truth, read_predictions(predictions, truth).columns, ["bbox"])
    settings = {"data": {"annotations": ANNOTATIONS, "images": "val", "root": root or str(data)}, "protocol": {}}
    record = make_record(measured=numbers, annotations=truth.sha256, images=images, config=settings)
    record.write(folder / "record.json")
    return record


def without_image(image: int) -> scored_set.Rows:
    """The detections but for those in one image."""
    return [row for row in scored_set.detections() if row["image_id"] != image]
