"""The border of a batch: how large its images become, where in it they lie, and what surrounds them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from zoo.data.size_rules import letterbox_offset
from zoo.errors import DataError
from zoo.types import Sample, Size


class Padding(ABC):
    """A rule of a protocol, as a value.

    Attributes:
        fill: level of the border, 0 to 255, which is normalised as the pixels are; None: 0 after normalisation.
    """

    fill: int | None = None

    @abstractmethod
    def batch_shape(self, samples: Sequence[Sample]) -> Size:
        """The (height, width) of a batch of these samples."""

    @abstractmethod
    def offset(self, batch_shape: Size, size: Size) -> tuple[int, int]:
        """(row, column) of the first pixel of an image of this size."""

    def padded_size(self, size: Size) -> Size:
        """The size of an image with its padding, where it is alone in its batch."""
        return size


@dataclass(frozen=True)
class PadToMultiple(Padding):
    """Zeros at the right and the bottom, from the largest image of the batch up to a multiple.

    Attributes:
        divisor: heights and widths of a batch are multiples of it.
    """

    divisor: int

    def batch_shape(self, samples: Sequence[Sample]) -> Size:
        """The (height, width) of a batch of these samples."""
        heights, widths = zip(*(sample.pixels.shape[:2] for sample in samples), strict=True)
        return self.padded_size((max(heights), max(widths)))

    def offset(self, batch_shape: Size, size: Size) -> tuple[int, int]:  # noqa: ARG002
        """The top left corner."""
        return 0, 0

    def padded_size(self, size: Size) -> Size:
        """The size of an image with its padding, where it is alone in its batch."""
        height, width = (-(-side // self.divisor) * self.divisor for side in size)
        return height, width


@dataclass(frozen=True)
class PadAround(Padding):
    """A border of one level around every image, up to the batch shape that was planned for the samples.

    Attributes:
        fill: level of the border, 0 to 255.
    """

    fill: int

    def batch_shape(self, samples: Sequence[Sample]) -> Size:
        """The shape that the samples share.

        Raises:
            ValueError: they have different ones, or none.
            DataError: a sample is larger than its shape.
        """
        shapes = {sample.batch_shape for sample in samples}
        shape = shapes.pop()
        if shape is None or shapes:
            raise ValueError("the samples of a batch need one and the same batch shape")
        largest = tuple(max(sample.pixels.shape[axis] for sample in samples) for axis in (0, 1))
        if largest[0] > shape[0] or largest[1] > shape[1]:
            ids = ", ".join(str(sample.image_id) for sample in samples)
            message = f"images {ids}: {largest} pixels do not fit the batch shape {shape} planned for them"
            raise DataError(message, next_step="correct the heights and widths in the annotation file")
        return shape

    def offset(self, batch_shape: Size, size: Size) -> tuple[int, int]:
        """The middle; see `letterbox_offset`."""
        return letterbox_offset(batch_shape, size)
