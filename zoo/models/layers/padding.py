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

    def padded_size(self, sample: Sample) -> Size:
        """The size of an image with its padding, where it is alone in its batch."""
        return self.batch_shape([sample])


@dataclass(frozen=True)
class PadToMultiple(Padding):
    """Zeros at the right and the bottom, up to a multiple of the largest image of the batch or of its planned shape.

    Attributes:
        divisor: heights and widths of a batch are multiples of it.
    """

    divisor: int

    def batch_shape(self, samples: Sequence[Sample]) -> Size:
        """The (height, width) of a batch of these samples.

        Raises:
            ValueError: they have different planned shapes.
            DataError: a sample is larger than the shape that was planned for it.
        """
        shape = largest(samples) if samples[0].batch_shape is None else planned_shape(samples)
        height, width = (-(-side // self.divisor) * self.divisor for side in shape)
        return height, width

    def offset(self, batch_shape: Size, size: Size) -> tuple[int, int]:  # noqa: ARG002
        """The top left corner."""
        return 0, 0


@dataclass(frozen=True)
class PadAround(Padding):
    """A border of one level around every image, up to the batch shape that was planned for the samples.

    Attributes:
        fill: level of the border, 0 to 255.
    """

    fill: int

    def batch_shape(self, samples: Sequence[Sample]) -> Size:
        """The shape that was planned for the samples; see `planned_shape` for its errors."""
        return planned_shape(samples)

    def offset(self, batch_shape: Size, size: Size) -> tuple[int, int]:
        """The middle; see `letterbox_offset`."""
        return letterbox_offset(batch_shape, size)


def planned_shape(samples: Sequence[Sample]) -> Size:
    """The (height, width) that was planned for a batch of samples.

    Raises:
        ValueError: they have different ones, or none.
        DataError: a sample is larger than its shape.
    """
    shapes = {sample.batch_shape for sample in samples}
    shape = shapes.pop()
    if shape is None or shapes:
        raise ValueError("the samples of a batch need one and the same batch shape")
    most = largest(samples)
    if most[0] > shape[0] or most[1] > shape[1]:
        ids = ", ".join(str(sample.image_id) for sample in samples)
        message = f"images {ids}: {most} pixels do not fit the batch shape {shape} planned for them"
        raise DataError(message, next_step="correct the heights and widths in the annotation file")
    return shape


def largest(samples: Sequence[Sample]) -> Size:
    """The largest height and the largest width among samples, without padding."""
    heights, widths = zip(*(sample.size for sample in samples), strict=True)
    return max(heights), max(widths)
