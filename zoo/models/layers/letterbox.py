"""The device side of Ultralytics' preprocessing: bytes to floats in the middle of a grey canvas."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.errors import DataError
from zoo.models.layers.normalize import PixelNormalizer
from zoo.types import Sample, Size


def corner(canvas: Size, size: Size) -> tuple[int, int]:
    """(row, column) of the first pixel of an image in the middle of a canvas; an odd pixel goes right or below."""
    return (canvas[0] - size[0]) // 2, (canvas[1] - size[1]) // 2


class LetterboxNormalizer(PixelNormalizer):
    """Bytes / 255 in RGB, in the middle of the samples' canvas.

    Args:
        fill: level of the borders, 0 to 255.
    """

    def __init__(self, fill: int) -> None:
        super().__init__(mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0), channels="rgb", divisor=1)
        self.fill = fill / 255

    def canvas(self, samples: Sequence[Sample]) -> Size:
        """The canvas that the samples share.

        Raises:
            ValueError: they have different ones, or none.
            DataError: a sample is larger than its canvas.
        """
        canvases = {sample.canvas for sample in samples}
        canvas = canvases.pop()
        if canvas is None or canvases:
            raise ValueError("the samples of a batch need one and the same canvas")
        largest = tuple(max(sample.pixels.shape[axis] for sample in samples) for axis in (0, 1))
        if largest[0] > canvas[0] or largest[1] > canvas[1]:
            ids = ", ".join(str(sample.image_id) for sample in samples)
            message = f"images {ids}: {largest} pixels do not fit the canvas {canvas} planned for them"
            raise DataError(message, next_step="correct the heights and widths in the annotation file")
        return canvas

    def corner(self, canvas: Size, size: Size) -> tuple[int, int]:
        """The middle; see the function of that name."""
        return corner(canvas, size)
