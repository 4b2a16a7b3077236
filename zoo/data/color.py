"""Colours of a training image, changed by tables, as YOLOv8 is trained with it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

HUES = 180
"""OpenCV's hues of bytes: two degrees each."""


def color_tables(factors: Sequence[float]) -> npt.NDArray[np.uint8]:
    """What becomes of each hue, saturation and value, (3, 256): hues go round, the others end at 255.

    Args:
        factors: of the three.
    """
    levels = np.arange(256)
    hue, saturation, value = (levels * factor for factor in factors)
    return np.stack((hue % HUES, np.clip(saturation, 0, 255), np.clip(value, 0, 255))).astype(np.uint8)


def recolored(pixels: npt.NDArray[np.uint8], factors: Sequence[float]) -> npt.NDArray[np.uint8]:
    """An image (H, W, 3), BGR, with its hue, saturation and value multiplied by factors."""
    tables = color_tables(factors)
    planes = cv2.split(cv2.cvtColor(pixels, cv2.COLOR_BGR2HSV))
    changed = cv2.merge([cv2.LUT(plane, table) for plane, table in zip(planes, tables, strict=True)])
    return cv2.cvtColor(changed, cv2.COLOR_HSV2BGR).astype(np.uint8, copy=False)
