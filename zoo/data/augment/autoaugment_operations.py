"""The operations of AutoAugment for detection, as PaddleDetection runs them, each with its argument given.

Source: Zoph et al., "Learning Data Augmentation Strategies for Object Detection", 2019, and PaddleDetection's version
of it. Legend: G objects of one image. Pixels are uint8 (H, W, 3), RGB. Boxes are (y1, x1, y2, x2) as shares of the
height and the width, float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageOps

Pixels: TypeAlias = npt.NDArray[np.uint8]
Boxes: TypeAlias = npt.NDArray[np.float32]
Corners: TypeAlias = npt.NDArray[np.float64]
"""(G, 4, 2): y and x of the corners of boxes."""

FILL = 128
"""Level of the pixels that a warp takes from beyond the image, and of a hole."""

STRIP = 0.05
"""Share of the side that a box keeps, at the border, when it has left the image."""

X, Y = 1, 0
"""Axes, as pixels and boxes have them."""


def translate(pixels: Pixels, shift: float, axis: int) -> Pixels:
    """Pixel i along an axis is pixel i + shift of the image."""
    return _affine(pixels, (1, 0, shift, 0, 1, 0) if axis == X else (1, 0, 0, 0, 1, shift))


def shear(pixels: Pixels, factor: float, axis: int) -> Pixels:
    """Pixels come from further along an axis, by a factor of their place on the other."""
    return _affine(pixels, (1, factor, 0, 0, 1, 0) if axis == X else (1, 0, 0, factor, 1, 0))


def rotate(pixels: Pixels, degrees: float) -> Pixels:
    """Turned about the middle, counter-clockwise, the size kept."""
    rotated = Image.fromarray(pixels).rotate(degrees, resample=Image.Resampling.NEAREST, fillcolor=(FILL,) * 3)
    return np.array(rotated)


def equalize(pixels: Pixels) -> Pixels:
    """The histogram of each channel made flat, as Pillow does it."""
    return np.array(ImageOps.equalize(Image.fromarray(pixels)))


def flip(pixels: Pixels) -> Pixels:
    """Left to right."""
    return pixels[:, ::-1]


def color(pixels: Pixels, factor: float) -> Pixels:
    """Away from grey, whose weights for red and blue are exchanged."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    return _away_from(np.repeat(grey[..., None], 3, axis=2), pixels, factor)


def contrast(pixels: Pixels, factor: float) -> Pixels:
    """Away from the mean level of grey, as Pillow does it."""
    return np.array(ImageEnhance.Contrast(Image.fromarray(pixels)).enhance(factor))


def brightness(pixels: Pixels, factor: float) -> Pixels:
    """Away from black."""
    return _away_from(np.zeros_like(pixels), pixels, factor)


def sharpness(pixels: Pixels, factor: float) -> Pixels:
    """Away from a mean over 3 x 3 pixels, in which the middle counts for five of thirteen."""
    kernel = np.ones((3, 3), dtype=np.float32)
    kernel[1, 1] = 5
    smooth = cv2.filter2D(pixels.astype(np.float32), -1, kernel / np.float32(13))
    return _away_from(smooth.clip(0, 255).astype(np.uint8), pixels, factor)


def solarize_add(pixels: Pixels, addition: int) -> Pixels:
    """Dark values made lighter."""
    lighter = (pixels.astype(np.int64) + addition).clip(0, 255)
    return np.where(pixels < FILL, lighter, pixels).astype(np.uint8)


def cutout(pixels: Pixels, half: int, center: tuple[int, int]) -> Pixels:
    """A square hole, twice `half` wide, as far as it lies in the image.

    Args:
        pixels: the image.
        half: half of the side, in pixels.
        center: (row, column) of the first pixel right of and below the middle.
    """
    row, column = center
    cut = pixels.copy()
    cut[max(row - half, 0) : row + half, max(column - half, 0) : column + half] = FILL
    return cut


def in_boxes(
    pixels: Pixels, boxes: Boxes, operation: Callable[[Pixels], Pixels], chosen: Callable[[], bool] = lambda: True
) -> Pixels:
    """An operation on what is inside of boxes, one after another, each an image of its own.

    Every value outside of a box that is chosen grows by 1, and 255 becomes 0: the original pads the crop with ones
    before it adds it to the rest. A box without a pixel is passed over.

    Args:
        pixels: the image.
        boxes: (G, 4).
        operation: from pixels to pixels of the same size.
        chosen: asked for each box, whether it takes part.
    """
    height, width = pixels.shape[:2]
    for box in boxes.astype(np.float64):
        top, left, bottom, right = (int(side) for side in box * (height, width, height, width))
        window = slice(top, min(bottom, height - 1) + 1), slice(left, min(right, width - 1) + 1)
        if pixels[window].size and chosen():
            inside = operation(pixels[window])
            pixels = pixels + np.uint8(1)
            pixels[window] = inside
    return pixels


def translate_boxes(boxes: Boxes, shift: float, size: tuple[int, int], axis: int) -> Boxes:
    """Boxes (G, 4) of an image of a size whose pixels `translate` has moved."""
    moved = np.trunc(boxes.astype(np.float64) * np.tile(size, 2))
    moved[:, [axis, axis + 2]] -= shift
    moved[:, axis] = moved[:, axis].clip(min=0)
    moved[:, axis + 2] = moved[:, axis + 2].clip(max=size[axis])
    return _inside(moved / np.tile(size, 2))


def shear_boxes(boxes: Boxes, factor: float, size: tuple[int, int], axis: int) -> Boxes:
    """The extents (G, 4) of boxes of an image of a size that `shear` has bent."""
    corners = _corners(np.trunc(boxes.astype(np.float64) * np.tile(size, 2)))
    corners[..., axis] -= factor * corners[..., 1 - axis]
    return _inside(_extent(np.trunc(corners)) / np.tile(size, 2))


def rotate_boxes(boxes: Boxes, degrees: float, size: tuple[int, int]) -> Boxes:
    """The extents (G, 4) of boxes of an image of a size that `rotate` has turned."""
    corners = _corners(np.trunc((boxes.astype(np.float64) - 0.5) * np.tile(size, 2)))
    y, x = -corners[..., 0], corners[..., 1]  # upwards
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turned = np.stack((-np.trunc(cosine * y + sine * x), np.trunc(cosine * x - sine * y)), axis=-1)
    return _inside(_extent(turned) / np.tile(size, 2) + 0.5)


def _affine(pixels: Pixels, coefficients: tuple[float, ...]) -> Pixels:
    """Pillow's affine transform, nearest: coefficients are of the places in the image that pixels come from."""
    image = Image.fromarray(pixels)
    nearest = Image.Resampling.NEAREST
    warped = image.transform(image.size, Image.Transform.AFFINE, coefficients, nearest, fillcolor=(FILL,) * 3)
    return np.array(warped)


def _away_from(base: Pixels, pixels: Pixels, factor: float) -> Pixels:
    """base + factor * (pixels - base) in float32, cut to bytes."""
    values = base.astype(np.float32)
    values += np.float32(factor) * (pixels.astype(np.float32) - values)
    return values.clip(0, 255).astype(np.uint8)


def _corners(boxes: npt.NDArray[np.float64]) -> Corners:
    """The corners of boxes (G, 4)."""
    return boxes[:, [[0, 1], [0, 3], [2, 1], [2, 3]]]


def _extent(corners: Corners) -> npt.NDArray[np.float64]:
    """The boxes (G, 4) that just hold corners."""
    extent: npt.NDArray[np.float64] = np.concatenate((corners.min(axis=1), corners.max(axis=1)), axis=1)
    return extent


def _inside(boxes: npt.NDArray[Any]) -> Boxes:
    """Boxes (G, 4) inside of the image: one that has left it stays as a strip at the border."""
    boxes = boxes.clip(0, 1)
    for low, high in ((0, 2), (1, 3)):
        empty = boxes[:, low] == boxes[:, high]
        boxes[empty, low] = boxes[empty, low].clip(max=1 - STRIP)
        boxes[empty, high] = boxes[empty, high].clip(min=STRIP)
    return boxes.astype(np.float32)
