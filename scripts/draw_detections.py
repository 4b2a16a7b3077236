"""Draw what an embedded model finds in validation images of the shapes data set: docs/shapes.png.

python scripts/draw_detections.py [--entry shapes_faster_rcnn_r10_fpn] [--output docs/shapes.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

import zoo
from zoo.data.coco import CocoGroundTruth
from zoo.data.shapes.dataset import prepare_shapes

SHOWN = 0.5
"""Lowest score drawn."""

CELL = (212, 212)
"""Width and height of a picture's place in the sheet."""

COLUMNS, ROWS = 4, 2


def main() -> None:
    """Write the sheet: the first eight images, four in a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entry", default="shapes_faster_rcnn_r10_fpn")
    parser.add_argument("--output", type=Path, default=Path("docs/shapes.png"))
    options = parser.parse_args()
    root = prepare_shapes("val")
    truth = CocoGroundTruth.load(root / "annotations" / "instances_val.json").subset(COLUMNS * ROWS)
    sheet = Image.new("RGB", (COLUMNS * CELL[0], ROWS * CELL[1]), "white")
    found = zoo.load(options.entry).predict([root / "val" / name for name in truth.file_names])
    for i, detections in enumerate(found):
        sheet.paste(detections.above(SHOWN).draw(), (i % COLUMNS * CELL[0], i // COLUMNS * CELL[1]))
    sheet.save(options.output, optimize=True)


if __name__ == "__main__":
    main()
