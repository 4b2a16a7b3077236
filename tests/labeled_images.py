"""Training images made up by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from zoo.data.augment.labeled_image import LabeledImage
from zoo.data.augment.outlines import resample
from zoo.data.coco import CocoGroundTruth


def corners(x1: float, y1: float, x2: float, y2: float) -> np.ndarray:
    return resample(np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], dtype=np.float32))


def make_image(size: tuple[int, int], level: int, *boxes: tuple[float, float, float, float]) -> LabeledImage:
    """An image of one grey, whose objects are rectangles, labelled by their number."""
    return LabeledImage(
        pixels=np.full((*size, 3), level, dtype=np.uint8),
        labels=np.arange(len(boxes), dtype=np.int64),
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        outlines=np.array([corners(*box) for box in boxes], dtype=np.float32).reshape(-1, 1000, 2),
    )


def levels(image: LabeledImage) -> list[list[int]]:
    rows: list[list[int]] = image.pixels[:, :, 0].tolist()
    return rows


def annotation(image: int, box: list[float], **more: Any) -> dict[str, Any]:
    """A row of COCO's annotations: an object that fills its box; `more` are other columns."""
    values = {"image_id": image, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
    x, y, w, h = box
    return values | {"segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]]} | more


def make(
    folder: Path, sizes: list[tuple[int, int]], annotations: list[dict[str, Any]]
) -> tuple[CocoGroundTruth, list[Path]]:
    """A data set of grey images of (height, width), with ids from 1."""
    images = [{"id": i, "file_name": f"{i}.png", "height": h, "width": w} for i, (h, w) in enumerate(sizes, 1)]
    for image, (height, width) in zip(images, sizes, strict=True):
        ramp = np.arange(width, dtype=np.uint8)[None, :, None].repeat(height, 0).repeat(3, 2)
        cv2.imwrite(str(folder / str(image["file_name"])), ramp)
    document = {
        "images": images,
        "annotations": [{"id": i, **row} for i, row in enumerate(annotations, 1)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}],
    }
    (folder / "train.json").write_text(json.dumps(document), encoding="utf-8")
    truth = CocoGroundTruth.load(folder / "train.json")
    return truth, [folder / name for name in truth.file_names]
