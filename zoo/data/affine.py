"""Scaling and shifting a training image, and what becomes of its objects, as YOLOv8 is trained with it.

Rotation, shear and perspective are 0 in all of its recipes. Legend: G objects, P points of an outline.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from zoo.data.scene import GREY, Scene
from zoo.data.yolo_labels import Floats

THINNEST = 2.0
"""Pixels that a box must be wider and higher than."""

REMNANT = 0.01
"""Share of its area that must be left of a box."""

SLIMMEST = 100.0
"""Ratio of its sides that a box must stay below."""


@dataclass(frozen=True, slots=True)
class ScaleAndShift:
    """(x, y) to (factor * x + right, factor * y + down), seen in a square.

    Attributes:
        factor: of scale.
        right: in pixels of the square.
        down: likewise.
        side: of the square.
    """

    factor: float
    right: float
    down: float
    side: int

    @classmethod
    def draw(
        cls, width: int, height: int, side: int, *, scale: float, translate: float, generator: np.random.Generator
    ) -> ScaleAndShift:
        """One that brings the middle of an image to about the middle of the square.

        Args:
            width: of the image, in pixels.
            height: likewise.
            side: of the square.
            scale: the factor is uniform in 1 - scale to 1 + scale.
            translate: the middle lands uniformly in 0.5 - translate to 0.5 + translate of the square, each way.
            generator: of the randomness.
        """
        factor = generator.uniform(1 - scale, 1 + scale)
        x, y = generator.uniform(0.5 - translate, 0.5 + translate, 2) * side
        return cls(factor, x - factor * width / 2, y - factor * height / 2, side)

    def __call__(self, scene: Scene) -> Scene:
        """A scene as seen in the square, without the objects of which too little is left.

        A box is the extent of those points of its outline that are seen.
        """
        outlines = scene.outlines * np.float32(self.factor) + np.array((self.right, self.down), dtype=np.float32)
        boxes, seen = visible_extents(outlines, self.side)
        kept = seen & worth_keeping(scene.boxes * np.float32(self.factor), boxes)
        return Scene(self._pixels(scene.pixels), scene.labels, boxes, outlines).chosen(kept)

    def _pixels(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        matrix = np.array([[self.factor, 0, self.right], [0, self.factor, self.down]], dtype=np.float64)
        warped = cv2.warpAffine(pixels, matrix, (self.side, self.side), borderValue=(GREY,) * 3)
        return warped.astype(np.uint8, copy=False)


def visible_extents(outlines: Floats, side: int) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The extent (G, 4) of the points of each outline (G, P, 2) inside a square, and whether there are any, (G,)."""
    x, y = outlines[..., 0], outlines[..., 1]
    inside = (x >= 0) & (x <= side) & (y >= 0) & (y <= side)  # (G, P)
    low = np.where(inside[..., None], outlines, np.inf).min(axis=1, initial=np.inf)
    high = np.where(inside[..., None], outlines, -np.inf).max(axis=1, initial=-np.inf)
    seen: npt.NDArray[np.bool_] = inside.sum(axis=1) > 0
    boxes = np.where(seen[:, None], np.concatenate((low, high), axis=1), 0)
    return boxes.astype(np.float32), seen


def worth_keeping(before: Floats, after: Floats, epsilon: float = 1e-16) -> npt.NDArray[np.bool_]:
    """Whether enough is left of each box (G, 4).

    Args:
        before: as if the square had no end.
        after: as seen.
        epsilon: what keeps divisions finite.
    """
    width, height = (after[:, 2:] - after[:, :2]).T
    area = (before[:, 2:] - before[:, :2]).prod(axis=1)
    slimness = np.maximum(width / (height + epsilon), height / (width + epsilon))
    left = width * height / (area + epsilon)
    kept: npt.NDArray[np.bool_] = (width > THINNEST) & (height > THINNEST) & (left > REMNANT) & (slimness < SLIMMEST)
    return kept
