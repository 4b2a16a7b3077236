"""Augmentations that put several images together: mosaic, copy-paste, mixup, as YOLOv8 is trained with them.

What is random is drawn by the caller, or from the generator it gives. Legend: G objects.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from zoo.data.scene import GREY, Scene, merged, mirrored_boxes, paste

CROWDED = 0.3
"""Share of an object that a pasted one may cover less than, box by box."""


def mosaic(scenes: Sequence[Scene], side: int, centre: tuple[int, int]) -> Scene:
    """Four scenes about a point (Bochkovskiy et al., "YOLOv4", 2020): top left, top right, bottom left, bottom right.

    Args:
        scenes: four, none larger than `side`.
        side: half of the canvas's.
        centre: (x, y) in the canvas, at which they meet.

    Returns:
        A square of twice the side, without the objects that are cut off entirely.
    """
    canvas = np.full((2 * side, 2 * side, 3), GREY, dtype=np.uint8)
    x, y = centre
    placed = []
    for number, scene in enumerate(scenes):
        height, width = scene.size
        row, column = y - height if number < 2 else y, x - width if number % 2 == 0 else x
        placed.append(paste(canvas, scene, (row, column)))
    whole = merged(canvas, placed)
    return whole.chosen(np.flatnonzero((whole.boxes[:, 2:] > whole.boxes[:, :2]).all(axis=1)))


def copy_paste(scene: Scene, share: float, generator: np.random.Generator) -> Scene:
    """Some objects once more, mirrored left to right over the whole scene (Ghiasi et al., "Simple Copy-Paste", 2021).

    Args:
        scene: its pixels are not changed.
        share: of the objects that have room there, which are those that cover less than `CROWDED` of any box.
        generator: draws which.
    """
    shares = covered(mirrored_boxes(scene.boxes, scene.size[1]), scene.boxes)
    roomy = np.flatnonzero((shares < CROWDED).all(axis=1))
    taken = generator.permutation(roomy)[: round(share * len(roomy))]
    if not len(taken):
        return scene
    copies = scene.chosen(taken).mirrored()
    stencil = np.zeros(scene.size, dtype=np.uint8)
    for outline in copies.outlines.astype(np.int32):
        cv2.fillPoly(stencil, [outline], 1)
    pixels = scene.pixels.copy()
    cv2.copyTo(copies.pixels, stencil, pixels)
    return merged(pixels, (scene, copies))


def mixup(scene: Scene, other: Scene, share: float) -> Scene:
    """Two scenes of one size, one seen through the other (Zhang et al., 2018), with the objects of both.

    Args:
        scene: seen by `share`.
        other: seen by the rest.
        share: in [0, 1].
    """
    pixels = (scene.pixels * share + other.pixels * (1 - share)).astype(np.uint8)
    return merged(pixels, (scene, other))


def covered(boxes: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Which share of each other box (G2, 4) lies in each box (G1, 4): (G1, G2)."""
    top_left = np.maximum(boxes[:, None, :2], others[None, :, :2])
    bottom_right = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    intersection = np.clip(bottom_right - top_left, 0, None).prod(axis=2)
    area = (others[:, 2:] - others[:, :2]).prod(axis=1)
    shares: npt.NDArray[np.float32] = intersection / np.maximum(area, np.float32(1e-7))
    return shares
