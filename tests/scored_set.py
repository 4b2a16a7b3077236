"""A made-up data set and the detections of a fair detector in it, which tests spoil in one way at a time."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Row = dict[str, Any]
Rows = list[Row]

IMAGES = 60
IDS = (1, 2, 4, 5, 9, 11, 12, 20)
NAMES = ("cat", "dog", "motorcycle", "tv", "cup", "fork", "traffic light", "couch")


@cache
def truth() -> dict[str, Any]:
    """A document in COCO's layout: images of many sizes, objects of eight classes whose ids have gaps."""
    rng = np.random.default_rng(0)
    images: list[Row] = []
    objects: list[Row] = []
    for image in range(1, IMAGES + 1):
        width, height = (int(side) for side in rng.integers(240, 720, 2))
        images.append({"id": image, "file_name": f"photo_{image:03}.jpg", "width": width, "height": height})
        for _ in range(rng.integers(2, 9)):
            w, h = rng.uniform(0.08, 0.5, 2) * (width, height)
            x, y = rng.uniform(0, 1, 2) * (width - w, height - h)
            box = [float(side) for side in (x, y, w, h)]
            objects.append(
                {"id": len(objects) + 1, "image_id": image, "category_id": int(rng.choice(IDS)), "bbox": box}
            )
            objects[-1] |= {"area": box[2] * box[3], "iscrowd": 0}
    categories = [{"id": category, "name": name} for category, name in zip(IDS, NAMES, strict=True)]
    return {"images": images, "categories": categories, "annotations": objects}


@cache
def _detections() -> Rows:
    rng = np.random.default_rng(1)
    rows: Rows = []
    for image in truth()["images"]:
        size = np.array([image["width"], image["height"]])
        there = [one for one in truth()["annotations"] if one["image_id"] == image["id"]]
        found = [one for one in there if rng.random() < 0.7]
        for one in found:
            box = np.array(one["bbox"])
            extent = box[2:] * (1 + rng.normal(0, 0.05, 2))
            corner = np.clip(box[:2] + rng.normal(0, 0.04, 2) * box[2:], 0, size - 1)
            category = one["category_id"] if rng.random() < 0.85 else int(rng.choice(IDS))
            rows.append(_row(image["id"], category, corner, np.minimum(extent, size - corner), rng.beta(4, 2)))
        for _ in range(rng.integers(4, 12)):
            extent = rng.uniform(0.05, 0.4, 2) * size
            score = 0.01 + 0.6 * rng.beta(1, 6)
            rows.append(_row(image["id"], int(rng.choice(IDS)), rng.uniform(0, 1, 2) * (size - extent), extent, score))
    return rows


def _row(image: int, category: int, corner: Any, extent: Any, score: float) -> Row:
    return {
        "image_id": image,
        "category_id": category,
        "bbox": [*map(float, (*corner, *extent))],
        "score": float(score),
    }


def detections() -> Rows:
    """A copy of the detections, to spoil."""
    return copy.deepcopy(_detections())


def with_boxes(change: Callable[[Floats, Floats, Floats], Sequence[Floats]]) -> Rows:
    """The detections with other boxes: `change(corner, extent, size)`, all (x, y), gives a box in two halves."""
    sizes = {image["id"]: np.array([image["width"], image["height"]], dtype=float) for image in truth()["images"]}
    rows = detections()
    for row in rows:
        box = np.array(row["bbox"])
        row["bbox"] = np.concatenate(change(box[:2], box[2:], sizes[row["image_id"]])).tolist()
    return rows


def with_categories(change: Callable[[int], int]) -> Rows:
    """The detections with other category ids."""
    return [{**row, "category_id": change(row["category_id"])} for row in detections()]


def write(folder: Path, rows: Any) -> tuple[Path, Path]:
    """The files of detections and annotations in a folder."""
    predictions, annotated = folder / "predictions.json", folder / "annotations.json"
    predictions.write_text(json.dumps(rows), encoding="utf-8")
    annotated.write_text(json.dumps(truth()), encoding="utf-8")
    return predictions, annotated
