"""Training images made up by hand."""

from __future__ import annotations

import numpy as np

from zoo.data.augment.labeled_image import LabeledImage
from zoo.data.augment.outlines import resample


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
