"""YOLOv8's masks on the host: from their edges straight to run lengths, or resized, each in the window of its box.

Legend: D detections, C prototypes of W cells across and H along, w and h of a window, E edges of all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

from zoo.data.rle import Bits, encode_edges, encode_windows
from zoo.models.heads.yolo_mask_edges import find_edges, pad
from zoo.models.heads.yolo_mask_resize import Lines, MaskResize, ResizeAxis
from zoo.types import ImageGeometry, Rle, Size

Floats: TypeAlias = npt.NDArray[np.float32]
Ints: TypeAlias = npt.NDArray[np.int64]

_MASKS_AT_A_TIME = 40
"""At most; few enough that boxes lie close to each other, many enough that a step costs more than its call."""


def encode_on_host(
    coefficients: Tensor,
    prototypes: Tensor,
    boxes: Tensor,
    geometry: ImageGeometry,
    *,
    sigmoid: bool,
    resize: MaskResize,
) -> list[Rle]:
    """The masks of one image, as COCO's run-length encodings.

    Args:
        coefficients: (D, C), D at least 1.
        prototypes: (C, H, W).
        boxes: (D, 4), in pixels of the input, which is four times as large as the prototypes.
        geometry: where the image lies in the input.
        sigmoid: it is the sigmoid of the prototypes' sums that is interpolated.
        resize: the rule by which the masks reach the size of the image file.
    """
    weights, padded = coefficients.numpy(), pad(prototypes.numpy())
    windows, size = _windows(boxes.numpy(), geometry), geometry.original_size
    enlarge = None if size == geometry.size else _Enlargement.of(geometry, resize)
    encoded = encode_edges(np.zeros(0, dtype=np.int64), len(windows), size)  # of what is not in the image
    for some in _close_together(windows):
        find = partial(find_edges, weights[some], padded, windows[some], sigmoid=sigmoid)
        (left, top), few = geometry.offset, windows[some]
        corners, extents = few[:, 1::-1] - (top, left), few[:, :1:-1] - few[:, 1::-1]  # row first, of the image
        if enlarge:
            ends = extents.prod(axis=1).cumsum()
            edges = find(np.append(0, ends[:-1]), extents[:, 0])
            found = enlarge.encode(_filled(edges, extents, ends), corners, extents)
        else:
            places = np.arange(len(some)) * (size[0] * size[1] + 1) + corners @ (1, size[0])
            found = encode_edges(find(places, np.full(len(some), size[0])), len(some), size)
        for i, rle in zip(some.tolist(), found, strict=True):
            encoded[i] = rle
    return encoded


def _windows(boxes: Floats, geometry: ImageGeometry) -> Ints:
    """The pixels of each box that lie in the image, (D, 4): x1, y1, and x2 and y2 beyond them, or as large."""
    (left, top), (height, width) = geometry.offset, geometry.size
    low = np.array([left, top, left, top])
    corners = np.ceil(boxes).clip(low, low + np.array([width, height, width, height])).astype(np.int64)
    corners[:, 2:] = np.maximum(corners[:, :2], corners[:, 2:])
    return corners


def _close_together(windows: Ints) -> Iterator[Ints]:
    """Indices, ascending, of windows (D, 4) that lie close together: the leaves of a k-d tree; none of empty ones."""

    def split(some: Ints) -> Iterator[Ints]:
        if len(some) <= _MASKS_AT_A_TIME:
            yield np.sort(some)
            return
        sides = windows[some]
        ordered = some[sides[:, np.ptp(sides, axis=0).argmax()].argsort()]
        for half in np.split(ordered, [len(some) // 2]):
            yield from split(half)

    filled = np.flatnonzero((windows[:, :2] < windows[:, 2:]).all(axis=1))
    return split(filled) if len(filled) else iter(())


def _filled(edges: Ints, extents: Ints, ends: Ints) -> Iterator[Bits]:
    """The masks in their windows, (w, h) each, column by column.

    Args:
        edges: (E,), where all windows lie one behind the other.
        extents: (D, 2), h and w.
        ends: (D,), of the windows.
    """
    runs = np.diff(edges, prepend=0, append=ends[-1])
    pixels = np.repeat(np.arange(len(runs)) & 1 != 0, runs)
    for (height, width), end in zip(extents.tolist(), ends.tolist(), strict=True):
        yield pixels[end - height * width : end].reshape(width, height)


@dataclass(frozen=True, slots=True)
class _Enlargement:
    """From masks in the input to those of the image file.

    Attributes:
        resize: the rule.
        size: of the image file.
        rows: of the resized masks.
        columns: of the resized masks.
    """

    resize: MaskResize
    size: Size
    rows: ResizeAxis
    columns: ResizeAxis

    @classmethod
    def of(cls, geometry: ImageGeometry, resize: MaskResize) -> _Enlargement:
        """From the image in the input to its file."""
        size = geometry.original_size
        return cls(resize, size, *(resize.axis(*sides) for sides in zip(size, geometry.size, strict=True)))

    def encode(self, masks: Iterable[Bits], corners: Ints, extents: Ints) -> list[Rle]:
        """The encodings of masks that are background but for a window each.

        Args:
            masks: (w, h) each, column by column.
            corners: (D, 2), row and column of the first pixel of each.
            extents: (D, 2), h and w.
        """
        along, across = (
            _reached(axis, corners[:, i], extents[:, i]) for i, axis in enumerate((self.rows, self.columns))
        )
        resized = self._resize(masks, corners, along, across)
        return encode_windows(resized, [(y.start, x.start) for y, x in zip(along, across, strict=True)], self.size)

    def _resize(
        self, masks: Iterable[Bits], corners: Ints, along: Sequence[slice], across: Sequence[slice]
    ) -> Iterator[Bits]:
        """The parts of the resized masks that the windows reach, (h, w) each, laid out in columns."""
        rows, columns = self.rows, self.columns
        kind = np.int16 if columns.across else np.uint8  # numpy is slow where kinds are mixed
        for mask, (row, column), y, x in zip(masks, corners.tolist(), along, across, strict=True):
            padded = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), dtype=kind)
            padded[1:-1, 1:-1] = mask
            weights, terms = [table[x, None] for table in columns.across], [table[y, None] for table in rows.along]
            lines = self.resize.across(*_neighbours(padded, columns, x, column), *weights)
            lines = _transposed(lines.astype(np.uint8, copy=False))
            found = self.resize.along(*_neighbours(lines, rows, y, row), *terms)
            yield _transposed(found.view(np.uint8)).view(np.bool_).T


def _reached(axis: ResizeAxis, firsts: Ints, lengths: Ints) -> list[slice]:
    """The lines of a resize that lie between any of a window's, of each window (D,)."""
    begins, ends = np.searchsorted(axis.high, firsts), np.searchsorted(axis.low, firsts + lengths)
    return [slice(*part) for part in zip(begins.tolist(), ends.tolist(), strict=True)]


def _neighbours(lines: Lines, axis: ResizeAxis, part: slice, first: int) -> tuple[Lines, Lines]:
    """The two lines that each line of a resize is made of, of a window with a line more on either side."""
    before = first - 1
    return lines.take(axis.low[part] - before, axis=0), lines.take(axis.high[part] - before, axis=0)


def _transposed(lines: Lines) -> Lines:
    """Laid out along the other axis; OpenCV is many times quicker at it."""
    return cv2.transpose(lines) if lines.size else lines.T
