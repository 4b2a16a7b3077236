"""Pictures and data sets that the steps draw for themselves, and detectors with drawn weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from gpu.lines import Session
from gpu.packages import ROOT

Picture = npt.NDArray[np.uint8]

OBJECTS = 8
"""Objects in an image of `write_coco`."""


def use_tests_and_benchmarks() -> None:
    """Make the modules of tests/ and benchmarks/ importable."""
    folders = [ROOT / "tests", ROOT / "tests" / "models", ROOT / "benchmarks"]
    sys.path[:0] = [str(folder) for folder in folders if str(folder) not in sys.path]


def picture(height: int, width: int, seed: int = 0, cell: int = 40) -> Picture:
    """A mosaic, uint8 RGB (height, width, 3), in which drawn weights find as much as in a photograph."""
    colours = np.random.default_rng(seed).integers(0, 256, (height // cell + 1, width // cell + 1, 3), dtype=np.uint8)
    return colours.repeat(cell, axis=0).repeat(cell, axis=1)[:height, :width]


def large_picture(session: Session) -> Picture:
    """A mosaic that becomes an input of 800 x 1333 pixels; on a CPU an eighth of it, as wide."""
    return picture(800 if session.on_gpu else 100, 1333)


def write_coco(root: Path, images: int, categories: list[str]) -> Path:
    """Mosaics of 480 x 640 pixels with `OBJECTS` objects each, boxes and polygons, laid out as COCO val2017."""
    (root / "val2017").mkdir(parents=True)
    (root / "annotations").mkdir()
    generator = np.random.default_rng(0)
    document: dict[str, Any] = {"images": [], "annotations": []}
    document["categories"] = [{"id": i, "name": name} for i, name in enumerate(categories, start=1)]
    for i in range(1, images + 1):
        name = f"{i:012}.jpg"
        cv2.imwrite(str(root / "val2017" / name), picture(480, 640, seed=i, cell=20))
        document["images"].append({"id": i, "file_name": name, "height": 480, "width": 640})
        for _ in range(OBJECTS):
            width, height = generator.integers(24, 240, 2).tolist()
            x, y = int(generator.integers(0, 640 - width)), int(generator.integers(0, 480 - height))
            polygon = [x, y, x + width, y, x + width, y + height, x, y + height]
            document["annotations"].append(
                {
                    "id": len(document["annotations"]) + 1,
                    "image_id": i,
                    "category_id": int(generator.integers(1, len(categories) + 1)),
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                    "segmentation": [polygon],
                }
            )
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(document), encoding="utf-8")
    return root
