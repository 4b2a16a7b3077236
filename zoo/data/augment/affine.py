"""Scaling and shifting a training image, and what becomes of its objects, as YOLOv8 is trained with it.

Rotation, shear and perspective are 0 in all of its recipes. Legend: G objects, P points of an outline.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from zoo.data.augment.labeled_image import GREY, Floats, LabeledImage

MIN_SIDE = 2.0
"""Pixels that a box must be wider and higher than."""

MIN_AREA_RATIO = 0.01
"""Share of its area that must be left of a box."""

MAX_ASPECT = 100.0
"""Ratio of its sides that a box must stay below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomAffine:
    """Scales an image at random and brings its middle to about the middle of a square.

    Attributes:
        side: side of the square, in pixels.
        scale: the factor is uniform in 1 - scale to 1 + scale.
        translate: the middle lands uniformly in 0.5 - translate to 0.5 + translate of the square, each way.
    """

    side: int
    scale: float
    translate: float

    def __call__(self, image: LabeledImage, generator: np.random.Generator) -> LabeledImage:
        """The square, without the objects of which too little is left."""
        factor = generator.uniform(1 - self.scale, 1 + self.scale)
        x, y = generator.uniform(0.5 - self.translate, 0.5 + self.translate, 2) * self.side
        height, width = image.size
        return affine(image, self.side, factor, (x - factor * width / 2, y - factor * height / 2))


def affine(image: LabeledImage, side: int, factor: float, shift: tuple[float, float]) -> LabeledImage:
    """An image as seen in a square, without the objects of which too little is left.

    A box is the extent of those points of its outline that are seen.

    Args:
        image: the image, with outlines.
        side: side of the square, in pixels.
        factor: factor of x and y.
        shift: (x, y) in pixels of the square, added to their products.
    """
    outlines = image.outlines * np.float32(factor) + np.array(shift, dtype=np.float32)
    boxes, seen = visible_extents(outlines, side)
    kept = seen & box_candidates(image.boxes * np.float32(factor), boxes)
    matrix = np.array([[factor, 0, shift[0]], [0, factor, shift[1]]], dtype=np.float64)
    warped = cv2.warpAffine(image.pixels, matrix, (side, side), borderValue=(GREY,) * 3)
    return LabeledImage(warped.astype(np.uint8, copy=False), image.labels, boxes, outlines).select(kept)


def visible_extents(outlines: Floats, side: int) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The extent (G, 4) of the points of each outline (G, P, 2) inside a square, and whether there are any, (G,)."""
    x, y = outlines[..., 0], outlines[..., 1]
    inside = (x >= 0) & (x <= side) & (y >= 0) & (y <= side)  # (G, P)
    low = np.where(inside[..., None], outlines, np.inf).min(axis=1, initial=np.inf)
    high = np.where(inside[..., None], outlines, -np.inf).max(axis=1, initial=-np.inf)
    seen: npt.NDArray[np.bool_] = inside.sum(axis=1) > 0
    boxes = np.where(seen[:, None], np.concatenate((low, high), axis=1), 0)
    return boxes.astype(np.float32), seen


def box_candidates(before: Floats, after: Floats, epsilon: float = 1e-16) -> npt.NDArray[np.bool_]:
    """Whether enough is left of each box (G, 4).

    Args:
        before: boxes as if the square had no end.
        after: boxes as seen.
        epsilon: smallest divisor.
    """
    width, height = (after[:, 2:] - after[:, :2]).T
    area = (before[:, 2:] - before[:, :2]).prod(axis=1)
    aspect = np.maximum(width / (height + epsilon), height / (width + epsilon))
    area_ratio = width * height / (area + epsilon)
    large = (width > MIN_SIDE) & (height > MIN_SIDE)
    candidates: npt.NDArray[np.bool_] = large & (area_ratio > MIN_AREA_RATIO) & (aspect < MAX_ASPECT)
    return candidates
