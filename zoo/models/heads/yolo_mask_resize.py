"""How the binary mask of a network's input becomes one of the image file, by the two rules that YOLOv8 has had.

Both are separable: lines across are made of two lines of the mask each, then lines along of two of these. What is
done here is the same for whole lines and for some pixels of them, for numpy's arrays and torch's tensors.

Legend: L lines of the resized mask along an axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int64]
Lines: TypeAlias = Any
"""Of a mask, by numpy or by torch."""

_ONE = 1 << 11
"""A whole weight in OpenCV's fixed point."""

_NEVER = 255
"""More than any sum across, which is of at most 128."""


@dataclass(frozen=True, slots=True)
class ResizeAxis:
    """One axis of a resize.

    Attributes:
        low: int64 (L,), the first of the two lines that each is made of, ascending.
        high: int64 (L,), the second, ascending.
        across: int16 (L,) each, what the rule needs of each line where the axis goes across.
        along: uint8 (L,) each, where it goes along.
    """

    low: Ints
    high: Ints
    across: Sequence[npt.NDArray[np.int16]] = ()
    along: Sequence[npt.NDArray[np.uint8]] = ()


class TruncatedResize:
    """Bilinear in float32 as torch does it, then truncated: foreground is what lies between foreground alone.

    The two weights of a pixel sum up to exactly 1 in float32, whatever they are, so that nothing is to be summed.
    """

    def axis(self, length: int, source: int) -> ResizeAxis:
        """So many lines of as many as the source has."""
        scale = np.float32(source) / np.float32(length)
        places = np.maximum((np.arange(length, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5), 0)
        low = np.minimum(places.astype(np.int64), source - 1)
        return ResizeAxis(low, np.minimum(low + (places > low), source - 1))

    def across(self, first: Lines, second: Lines) -> Lines:
        """Lines of the resized width."""
        return first & second

    def along(self, first: Lines, second: Lines) -> Lines:
        """Lines of the resized height."""
        return first & second


class RoundedResize:
    """OpenCV's bilinear resize of bytes 0 and 1, in its fixed point: weights of 11 bits, sums cut and then rounded.

    With the sums across as q, of at most 128, and weights b along, a pixel is foreground where
    `(q0 * b0 >> 16) + (q1 * b1 >> 16)` is at least 2. Each term is compared with 1 and 2.
    """

    def axis(self, length: int, source: int) -> ResizeAxis:
        """So many lines of as many as the source has."""
        places = ((np.arange(length) + 0.5) * (source / length) - 0.5).astype(np.float32)
        low = np.floor(places).astype(np.int64)
        weight = places - low.astype(np.float32)
        # Beyond the outermost lines OpenCV repeats them: across with the whole weight, along with both parts of it.
        clamped = np.where((low < 0) | (low >= source - 1), np.float32(0), weight)
        along = [_terms_from(k, _fixed(part)) for k in (1, 2) for part in (1 - weight, weight)]
        return ResizeAxis(
            low.clip(0, source - 1), (low + 1).clip(0, source - 1), (_fixed(1 - clamped), _fixed(clamped)), along
        )

    def across(self, first: Lines, second: Lines, weight: Lines, other: Lines) -> Lines:
        """Sums of lines, int16."""
        return first * weight + second * other >> 4

    def along(self, first: Lines, second: Lines, one: Lines, other_one: Lines, two: Lines, other_two: Lines) -> Lines:
        """Lines of the resized height."""
        return (first >= two) | (second >= other_two) | (first >= one) & (second >= other_one)


MaskResize: TypeAlias = TruncatedResize | RoundedResize


def _fixed(weights: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    fixed: npt.NDArray[np.int16] = np.rint(weights * np.float32(_ONE)).astype(np.int16)
    return fixed


def _terms_from(value: int, weights: npt.NDArray[np.int16]) -> npt.NDArray[np.uint8]:
    """The smallest sums whose product with each weight, without its 16 lowest bits, is at least so much."""
    products, divisors = value << 16, np.maximum(weights.astype(np.int64), 1)
    terms: npt.NDArray[np.uint8] = np.minimum(-(-products // divisors), _NEVER).astype(np.uint8)
    return terms
