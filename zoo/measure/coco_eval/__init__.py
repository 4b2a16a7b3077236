"""COCO's evaluation on columns, bit-equal to pycocotools."""

from __future__ import annotations

EVALUATOR_VERSION = 1
"""Version of what the evaluator computes: goes up when the same detections would get other numbers."""
