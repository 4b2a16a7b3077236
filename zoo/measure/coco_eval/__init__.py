"""COCO's evaluation on columns, bit-equal to pycocotools."""

from __future__ import annotations

from typing import Literal, TypeAlias

Evaluator: TypeAlias = Literal["vectorized", "pycocotools"]
"""Ours, or the reference; both give the same bits."""
