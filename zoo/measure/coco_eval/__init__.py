"""COCO's evaluation on columns, bit-equal to pycocotools."""

from __future__ import annotations

from typing import Literal, TypeAlias

IouType: TypeAlias = Literal["bbox", "segm"]
"""What is compared, by COCO's own words: boxes or masks."""

PREFIXES: dict[IouType, str] = {"bbox": "box", "segm": "mask"}
"""What the numbers of each begin with in a record."""

EVALUATOR_VERSION = 1
"""Version of what the evaluator computes: goes up when the same detections would get other numbers."""
