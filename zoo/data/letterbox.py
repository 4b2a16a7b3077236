"""Ultralytics' preprocessing on the host side: long side to a length, on a canvas as tight as the stride allows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from zoo.data.preprocess import resized
from zoo.types import Image, Sample, Size


class Letterbox:
    """Scale an image to a long side; the border comes with the batch, whose images share a canvas.

    Facts of Ultralytics' `val` with rectangular batches: sides are rounded up; the canvas fits the
    aspect ratios of the batch, in units of the stride, plus half a unit, rounded up.

    Args:
        long: length of the longer side, in pixels.
        stride: sides of the canvas are multiples of it.
        pad: strides added before the canvas is rounded up.
    """

    def __init__(self, long: int, stride: int, pad: float) -> None:
        self.long = long
        self.stride = stride
        self.pad = pad

    def size(self, height: int, width: int) -> Size:
        """The resized (height, width)."""
        factor = self.long / max(height, width)
        return min(math.ceil(height * factor), self.long), min(math.ceil(width * factor), self.long)

    def canvas(self, sizes: Sequence[Size]) -> Size:
        """The canvas of images of these original sizes, when they share a batch."""
        ratios = [height / width for height, width in sizes]
        lowest, highest = min(ratios), max(ratios)
        height, width = 1.0, 1.0
        if highest < 1:
            height = highest
        elif lowest > 1:
            width = 1 / lowest
        return self._rounded(height), self._rounded(width)

    def __call__(self, image: Image, image_id: int = 0) -> Sample:
        """A file or an RGB array, decoded and resized; its canvas is that of a batch of its own."""
        sample = resized(image, image_id, self.size)
        sample.canvas = self.canvas([sample.original_size])
        return sample

    def _rounded(self, share: float) -> int:
        """A share of the long side in pixels of the canvas."""
        return math.ceil(share * self.long / self.stride + self.pad) * self.stride


def letterbox_offset(canvas: Size, size: Size) -> tuple[int, int]:
    """(row, column) of the first pixel of an image in the middle of a canvas; an odd pixel goes right or below."""
    return (canvas[0] - size[0]) // 2, (canvas[1] - size[1]) // 2
