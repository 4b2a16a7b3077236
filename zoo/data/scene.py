"""A training image on its way through the augmentations, with the outlines of its objects.

Legend: G objects, P points of an outline. Sizes are (height, width) in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from zoo.data.size_rules import Letterbox, letterbox_offset
from zoo.data.yolo_labels import Floats, Labels
from zoo.types import Size

GREY = 114
"""Level of what no image covers."""


@dataclass(slots=True)
class Scene:
    """Pixels and what is to be found in them.

    Attributes:
        pixels: uint8 (H, W, 3), BGR.
        labels: int64 (G,), positions in the class list.
        boxes: float32 (G, 4), xyxy in pixels.
        outlines: float32 (G, P, 2), x and y in pixels; may reach beyond the pixels.
    """

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    boxes: Floats
    outlines: Floats

    @property
    def size(self) -> Size:
        """Of the pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def chosen(self, objects: npt.NDArray[np.bool_ | np.int64]) -> Scene:
        """The same pixels with some of the objects."""
        return Scene(self.pixels, self.labels[objects], self.boxes[objects], self.outlines[objects])

    def mirrored(self) -> Scene:
        """Left to right."""
        width = self.size[1]
        outlines = self.outlines.copy()
        outlines[:, :, 0] = np.float32(width) - outlines[:, :, 0]
        pixels = cv2.flip(self.pixels, 1).astype(np.uint8, copy=False)
        return Scene(pixels, self.labels, mirrored_boxes(self.boxes, width), outlines)


def mirrored_boxes(boxes: Floats, width: int) -> Floats:
    """Boxes (G, 4) of an image of a width when it is mirrored left to right."""
    mirrored = boxes.copy()
    mirrored[:, [0, 2]] = np.float32(width) - boxes[:, [2, 0]]
    return mirrored


def resized_scene(pixels: npt.NDArray[np.uint8], labels: Labels, side: int) -> Scene:
    """An image (H, W, 3) scaled until its longer side has a length, smaller ones enlarged, with its labels."""
    height, width = Letterbox(side, stride=side, pad=0)((pixels.shape[0], pixels.shape[1])).size
    if (height, width) != pixels.shape[:2]:
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    extent = np.array((width, height), dtype=np.float32)
    return Scene(pixels, labels.labels, labels.boxes * np.tile(extent, 2), labels.outlines * extent)


def paste(canvas: npt.NDArray[np.uint8], scene: Scene, place: Size) -> Scene:
    """Put a scene into a canvas, as far as it reaches; boxes and outlines end with the canvas.

    Args:
        canvas: (H, W, 3), written to.
        scene: what is put there.
        place: (row, column) of its first pixel, possibly outside.

    Returns:
        The objects on the canvas; some may be empty.
    """
    row, column = place
    height, width = canvas.shape[:2]
    top, left = max(row, 0), max(column, 0)
    bottom, right = min(row + scene.size[0], height), min(column + scene.size[1], width)
    canvas[top:bottom, left:right] = scene.pixels[top - row : bottom - row, left - column : right - column]
    shift, most = np.array((column, row), dtype=np.float32), np.array((width, height), dtype=np.float32)
    boxes = np.clip(scene.boxes + np.tile(shift, 2), 0, np.tile(most, 2))
    return Scene(canvas, scene.labels, boxes, np.clip(scene.outlines + shift, 0, most))


def letterboxed(scene: Scene, side: int) -> Scene:
    """A scene in the middle of a grey square."""
    canvas = np.full((side, side, 3), GREY, dtype=np.uint8)
    return paste(canvas, scene, letterbox_offset((side, side), scene.size))


def merged(pixels: npt.NDArray[np.uint8], scenes: Sequence[Scene]) -> Scene:
    """Pixels with the objects of all scenes."""
    return Scene(
        pixels,
        labels=np.concatenate([scene.labels for scene in scenes]),
        boxes=np.concatenate([scene.boxes for scene in scenes]),
        outlines=np.concatenate([scene.outlines for scene in scenes]),
    )
