"""To what size an image is resized, and on what size a batch is padded: the rules of the source frameworks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from zoo.types import Size


@dataclass(frozen=True, slots=True)
class Resize:
    """One image's resize.

    Attributes:
        size: (height, width) of the result, in whole pixels.
        scale: (x, y) factors from original to resized pixels; boxes are divided by them.
    """

    size: Size
    scale: tuple[float, float]


class SizeRule(ABC):
    """A rule of a protocol, as a value."""

    @abstractmethod
    def __call__(self, size: Size) -> Resize:
        """The resize of an image of this (height, width)."""

    def batch_shape(self, sizes: Sequence[Size]) -> Size | None:  # noqa: ARG002 - other rules depend on them
        """The (height, width) that images of these original sizes are padded to when they share a batch.

        None where the rule does not decide that, and the largest of the resized images does.
        """
        return None

    @property
    def square(self) -> Size | None:
        """The input of fixed size that holds every resized image; None where there is none."""
        return None


@dataclass(frozen=True)
class KeepRatio(SizeRule):
    """Just fits a long and a short side (mmdetection's `Resize` with `keep_ratio`).

    Sides are rounded to whole pixels, and the two factors are taken from the rounded sides, so that they differ by
    a little.

    Attributes:
        long: largest length of the longer side, in pixels.
        short: largest length of the shorter side, in pixels.
        rounding: to the "nearest" pixel, or "down" (torchvision), where a product that lies a rounding error below
            a whole number loses a pixel.
    """

    long: int
    short: int
    rounding: Literal["nearest", "down"] = "nearest"

    def __post_init__(self) -> None:
        if self.rounding not in ("nearest", "down"):
            raise ValueError(f"rounding: {self.rounding!r} is neither 'nearest' nor 'down'")

    def __call__(self, size: Size) -> Resize:
        """The resize of an image of this (height, width)."""
        factor = min(self.long / max(size), self.short / min(size))
        half = 0.5 if self.rounding == "nearest" else 0.0
        return _to_size(size, (int(size[0] * factor + half), int(size[1] * factor + half)))


@dataclass(frozen=True)
class FixedSize(SizeRule):
    """One size for every image, whatever its aspect ratio (SSD).

    Attributes:
        height: of the result, in pixels.
        width: likewise.
    """

    height: int
    width: int

    def __call__(self, size: Size) -> Resize:
        """The resize of an image of this (height, width)."""
        return _to_size(size, self.square)

    @property
    def square(self) -> Size:
        """The size itself."""
        return self.height, self.width


@dataclass(frozen=True)
class ByFactor(SizeRule):
    """One factor for both sides, from the shorter one (PaddleDetection before 2.0; faster-rcnn.pytorch).

    The size is rounded, halves to even, but the factor stays what it was: resamplers that go by the factor
    sample other points than those that go by the size.

    Attributes:
        short: length of the shorter side, in pixels.
        long: largest length of the longer side; None leaves it free.
        round_before_limit: whether the longer side is compared with `long` after it was rounded to whole pixels.
    """

    short: int
    long: int | None = None
    round_before_limit: bool = False

    def __call__(self, size: Size) -> Resize:
        """The resize of an image of this (height, width)."""
        factor = self._factor(size)
        return Resize((round(size[0] * factor), round(size[1] * factor)), (factor, factor))

    def _factor(self, size: Size) -> float:
        factor = self.short / min(size)
        if self.long is None:
            return factor
        limit = self.long / max(size)
        if self.round_before_limit:
            return limit if round(factor * max(size)) > self.long else factor
        return min(factor, limit)


@dataclass(frozen=True)
class Letterbox(SizeRule):
    """Scales the longer side to a length; the border comes with the batch, whose images share a shape.

    Facts of Ultralytics' `val` with rectangular batches: sides are rounded up; the batch shape fits the
    aspect ratios of the batch, in units of the stride, plus `pad` units, rounded up.

    Attributes:
        long: length of the longer side, in pixels.
        stride: sides of the batch shape are multiples of it.
        pad: strides added before the batch shape is rounded up.
    """

    long: int
    stride: int
    pad: float

    def __call__(self, size: Size) -> Resize:
        """The resize of an image of this (height, width)."""
        factor = self.long / max(size)
        return _to_size(
            size, (min(math.ceil(size[0] * factor), self.long), min(math.ceil(size[1] * factor), self.long))
        )

    def batch_shape(self, sizes: Sequence[Size]) -> Size:
        """The (height, width) that images of these original sizes are padded to when they share a batch."""
        ratios = [height / width for height, width in sizes]
        lowest, highest = min(ratios), max(ratios)
        height, width = 1.0, 1.0
        if highest < 1:
            height = highest
        elif lowest > 1:
            width = 1 / lowest
        return self._padded(height), self._padded(width)

    @property
    def square(self) -> Size:
        """The long side in whole strides, for both sides: the input that exported networks take."""
        side = math.ceil(self.long / self.stride) * self.stride
        return side, side

    def _padded(self, share: float) -> int:
        """A share of the long side in pixels of the batch shape."""
        return math.ceil(share * self.long / self.stride + self.pad) * self.stride


def letterbox_offset(batch_shape: Size, size: Size) -> tuple[int, int]:
    """(row, column) of the first pixel of an image in the middle of a shape; an odd pixel goes right or below."""
    return (batch_shape[0] - size[0]) // 2, (batch_shape[1] - size[1]) // 2


def _to_size(original: Size, size: Size) -> Resize:
    """A resize whose factors come from the rounded size."""
    return Resize(size, (size[1] / original[1], size[0] / original[0]))
