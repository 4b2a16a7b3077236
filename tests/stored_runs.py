"""Runs of a made-up detector in the embedded data set: a record and its detections in a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from made_up import make_record

from zoo.coco_tasks import IouType
from zoo.data.coco import CocoGroundTruth
from zoo.measure.coco_eval.columns import DetectionColumns
from zoo.measure.coco_eval.predictions import write_predictions
from zoo.measure.coco_eval.summary import Rounding, coco_numbers
from zoo.results.record import Record

ANNOTATIONS = "annotations/instances_val.json"


def detect(truth: CocoGroundTruth, seed: int = 0, *, missing: float = 0.2) -> DetectionColumns:
    """Detections with every kind of error: the annotations' own masks, some of other classes or another place."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(np.flatnonzero(rng.random(len(truth.boxes)) >= missing), 2)
    boxes = truth.boxes[rows] + rng.normal(0, 0.15, (len(rows), 4)) * truth.boxes[rows][:, [2, 3, 2, 3]] * [1, 1, 0, 0]
    wrong = rng.random(len(rows)) < 0.2
    labels = np.where(wrong, rng.integers(0, len(truth.category_ids), len(rows)), truth.category_index[rows])
    return DetectionColumns(
        image_id=truth.image_ids[truth.image_index[rows]],
        category_id=truth.category_ids[labels],
        bbox=boxes,
        score=rng.random(len(rows)).astype(np.float32).astype(float),
        segmentation=[truth.rle(int(row)) for row in rows],
    )


def store(
    folder: Path,
    truth: CocoGroundTruth,
    detections: DetectionColumns,
    *,
    types: Sequence[IouType] = ("bbox", "segm"),
    rounding: Mapping[str, int] | None = None,
    protocol: Mapping[str, Any] | None = None,
    **more: Any,
) -> Record:
    """What a run leaves in its folder; returns its record.

    Args:
        truth: annotations of the images of the run.
        types: what was measured.
        rounding: the protocol's decimals.
        protocol: more of the protocol's configuration.
        more: as `make_record` takes it.
    """
    scored = detections if rounding is None else Rounding(**rounding)(detections)
    config = {
        "data": {"name": "shapes", "split": "val", "root": None, "annotations": ANNOTATIONS, "images": "val"},
        "protocol": {**(protocol or {}), **({} if rounding is None else {"rounding": dict(rounding)})},
    }
    about: dict[str, Any] = {"entry": "shapes_a", "data": "shapes", "protocol": "shapes", **more}
    record = make_record(
        measured=coco_numbers(truth, scored, types),
        config=config,
        images=len(truth),
        annotations=truth.sha256,
        **about,
    )
    folder.mkdir(parents=True)
    record.write(folder / "record.json")
    write_predictions(detections, folder / "predictions.json")
    return record
