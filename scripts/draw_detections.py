"""Draw what an embedded model finds in validation images of the shapes data set: docs/shapes.png.

python scripts/draw_detections.py [--entry shapes_faster_rcnn_r10_fpn] [--output docs/shapes.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

import zoo
from zoo.data.coco import CocoGroundTruth
from zoo.data.images import decode
from zoo.data.shapes.dataset import prepare_shapes
from zoo.types import Detections

COLOURS = (
    (60, 60, 230),
    (60, 180, 60),
    (230, 130, 40),
    (40, 200, 230),
    (200, 60, 200),
    (210, 210, 60),
)  # BGR, by label
SHOWN = 0.5
"""Lowest score drawn."""

ZOOM = 2
CELL = (424, 424)
"""Height and width of a picture's place in the sheet."""


def draw(image: npt.NDArray[np.uint8], found: Detections, names: list[str]) -> npt.NDArray[np.uint8]:
    """One picture, enlarged, with a box, a name and a score for each detection."""
    canvas = cv2.resize(image, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_NEAREST)
    for box, score, label in zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True):
        if score < SHOWN:
            continue
        left, top, right, bottom = (round(side * ZOOM) for side in box)
        cv2.rectangle(canvas, (left, top), (right, bottom), COLOURS[label], 2)
        text = f"{names[label]} {score:.2f}"
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
        base = max(height + 4, top)
        cv2.rectangle(canvas, (left, base - height - 4), (left + width, base), COLOURS[label], cv2.FILLED)
        cv2.putText(canvas, text, (left, base - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    sheet = np.full((*CELL, 3), 255, dtype=np.uint8)
    sheet[: canvas.shape[0], : canvas.shape[1]] = canvas[: CELL[0], : CELL[1]]
    return sheet


def main() -> None:
    """Write the sheet: the first eight images, four in a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entry", default="shapes_faster_rcnn_r10_fpn")
    parser.add_argument("--output", type=Path, default=Path("docs/shapes.png"))
    options = parser.parse_args()
    root = prepare_shapes("val")
    truth = CocoGroundTruth.load(root / "annotations" / "instances_val.json").subset(8)
    files = [root / "val" / name for name in truth.file_names]
    found = zoo.load(options.entry).predict(files)
    cells = [draw(decode(file), one, truth.category_names) for file, one in zip(files, found, strict=True)]
    rows = [np.hstack(cells[i : i + 4]) for i in (0, 4)]
    cv2.imwrite(str(options.output), np.vstack(rows), [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main()
