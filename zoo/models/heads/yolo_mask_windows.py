"""YOLOv8's masks on the host: each in the window of its box, and edges that lie as the definition has them.

Legend: D detections, C prototypes of W cells across and H along, M pixels of a mask, w and h of a window.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoo.data.rle import Bits, encode_windows
from zoo.models.heads.yolo_mask_resize import Lines, MaskResize, ResizeAxis
from zoo.models.losses.masks import STRIDE
from zoo.types import ImageGeometry, Rle

Floats: TypeAlias = npt.NDArray[np.float32]
Ints: TypeAlias = npt.NDArray[np.int64]

ROUNDING = 1e-6
"""More, in units of the largest cell, than two ways to interpolate differ by in float32. Pixels so close to the
threshold are looked at twice."""

_MASKS_AT_A_TIME = 16
"""Few enough that their sums stay in a processor's cache."""


@dataclass(frozen=True, slots=True)
class _Window:
    """The cells that a box reaches.

    Attributes:
        box: x1, y1, x2, y2, pixels of the input, the last two beyond it.
        left: column of the first cell, among padded ones.
        top: row of the first cell.
        size: columns and rows.
    """

    box: tuple[int, int, int, int]
    left: int
    top: int
    size: tuple[int, int]

    @property
    def columns(self) -> slice:
        """The box among the cells' pixels."""
        first = STRIDE * (self.left - 1)
        return slice(self.box[0] - first, self.box[2] - first)

    @property
    def rows(self) -> slice:
        """The box among the cells' pixels."""
        first = STRIDE * (self.top - 1)
        return slice(self.box[1] - first, self.box[3] - first)


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
    windows = [_window(box) for box in _whole_boxes(boxes.numpy(), geometry)]
    order = sorted(range(len(windows)), key=lambda i: 2 * windows[i].left + windows[i].size[0])
    windows = [windows[i] for i in order]  # those that lie one below the other together
    masks = _masks(coefficients[order], prototypes, windows, sigmoid)
    (left, top), size, original_size = geometry.offset, geometry.size, geometry.original_size
    corners = [(window.box[1] - top, window.box[0] - left) for window in windows]
    if size != original_size:
        rows, columns = (resize.axis(*sides) for sides in zip(original_size, size, strict=True))
        extents = [(window.box[3] - window.box[1], window.box[2] - window.box[0]) for window in windows]
        along, across = (_reached(axis, corners, extents, i) for i, axis in enumerate((rows, columns)))
        masks = _resize(masks, corners, _Lines(rows, along), _Lines(columns, across), resize)
        corners = [(y.start, x.start) for y, x in zip(along, across, strict=True)]
    encoded = encode_windows((mask.T for mask in masks), corners, original_size)
    return [rle for _, rle in sorted(zip(order, encoded, strict=True))]


def _masks(coefficients: Tensor, prototypes: Tensor, windows: Sequence[_Window], sigmoid: bool) -> Iterator[Bits]:
    """The masks in their windows' boxes, (w, h) each, column by column."""
    planes = [cv2.copyMakeBorder(cv2.transpose(x), 1, 1, 1, 1, cv2.BORDER_REPLICATE) for x in prototypes.numpy()]
    padded = torch.from_numpy(np.stack(planes))  # (C, W + 2, H + 2), column by column
    flat, side = padded.flatten(1), padded.shape[2]
    buffer = flat.new_empty(_MASKS_AT_A_TIME * flat.shape[1])  # each new one would cost more than what fills it
    pixels = np.empty(STRIDE**2 * flat.shape[1], dtype=np.float32)
    begin = 0
    for part in coefficients.chunk(-(-len(coefficients) // _MASKS_AT_A_TIME)):
        some = windows[begin : begin + len(part)]
        first, last = min(x.left for x in some), max(x.left + x.size[0] for x in some)
        cells = flat[:, first * side : last * side]  # of the columns that these masks reach
        sums = torch.mm(part, cells, out=buffer[: len(part) * cells.shape[1]].view(len(part), -1))
        for grid, window in zip(sums.view(len(part), -1, side).numpy(), some, strict=True):
            left, top, (columns, rows) = window.left - first, window.top, window.size
            yield _cut(grid[left : left + columns, top : top + rows], window, sigmoid, pixels)
        begin += len(part)


def _whole_boxes(boxes: Floats, geometry: ImageGeometry) -> list[tuple[int, int, int, int]]:
    """The pixels of each box that lie in the image: x1, y1, and x2 and y2 beyond them, or as large."""
    (left, top), (height, width) = geometry.offset, geometry.size
    low = np.array([left, top, left, top])
    corners = np.ceil(boxes).clip(low, low + np.array([width, height, width, height])).astype(np.int64)
    corners[:, 2:] = np.maximum(corners[:, :2], corners[:, 2:])
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in corners.tolist()]


def _window(box: tuple[int, int, int, int]) -> _Window:
    x1, y1, x2, y2 = box
    (left, columns), (top, rows) = _cells(x1, x2), _cells(y1, y2)
    return _Window(box, left, top, (columns, rows))


def _cells(begin: int, end: int) -> tuple[int, int]:
    """The first padded cell, and how many, between whose middles pixels lie."""
    half = STRIDE // 2
    first = (begin + half) // STRIDE
    return first, (end - 1 + half) // STRIDE + 2 - first


def _cut(cells: Floats, window: _Window, sigmoid: bool, buffer: Floats) -> Bits:
    """A mask in its window's box, (w, h), column by column.

    OpenCV interpolates many times quicker than this rule could be written down here, but rounds otherwise.

    Args:
        cells: (columns, rows), sums of prototypes, of the window.
        window: of the mask.
        sigmoid: it is the sums' sigmoid that is interpolated.
        buffer: for all pixels of the cells.
    """
    if sigmoid:
        threshold, largest = 0.5, 1.0
        grid = torch.from_numpy(cells).sigmoid().numpy()
    else:
        lowest, highest, *_ = cv2.minMaxLoc(cells)
        threshold, largest, grid = 0.0, max(-lowest, highest), cells
    height, width = STRIDE * cells.shape[0], STRIDE * cells.shape[1]
    values = buffer[: height * width].reshape(height, width)
    cv2.resize(grid, (width, height), values, interpolation=cv2.INTER_LINEAR)
    margin = ROUNDING * largest
    all_likely, all_certain = values > threshold - margin, values > threshold + margin
    likely, certain = (pixels[window.columns, window.rows] for pixels in (all_likely, all_certain))
    if np.count_nonzero(all_likely) != np.count_nonzero(all_certain):
        columns, rows = (likely & ~certain).nonzero()
        exact = _exact(cells, window, columns + window.columns.start, rows + window.rows.start, sigmoid)
        likely[columns, rows] = exact > threshold
    return likely


def _exact(cells: Floats, window: _Window, columns: Ints, rows: Ints, sigmoid: bool) -> Floats:
    """Values of some pixels (M,), bilinear in float32, along first.

    Args:
        cells: (columns, rows), of the window.
        window: of the mask.
        columns: of the pixels, counted from the left edge of the first cell.
        rows: likewise, from its top edge.
        sigmoid: it is the sums' sigmoid that is interpolated.
    """
    (i, x), (j, y) = (_between(*axis) for axis in ((columns, window.left), (rows, window.top)))
    corners = np.stack([cells[i, j], cells[i, j + 1], cells[i + 1, j], cells[i + 1, j + 1]])  # (4, M)
    if sigmoid:
        corners = torch.from_numpy(corners).sigmoid().numpy()
    first, second = (corners[k] * (1 - y) + corners[k + 1] * y for k in (0, 2))
    values: Floats = first * (1 - x) + second * x
    return values


def _between(pixels: Ints, first: int) -> tuple[Ints, Floats]:
    """The first of the two cells that pixels (M,) lie between, and the second's weight; padding has none."""
    cell, phase = np.divmod(pixels - STRIDE // 2, STRIDE)
    return cell, ((phase + np.float32(0.5)) / STRIDE * (cell + first > 0)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Lines:
    """One axis of a resize.

    Attributes:
        axis: of the whole mask.
        reached: of each window, the lines that lie between any of its own.
    """

    axis: ResizeAxis
    reached: Sequence[slice]


def _resize(
    masks: Iterable[Bits], corners: Sequence[tuple[int, int]], rows: _Lines, columns: _Lines, resize: MaskResize
) -> Iterator[Bits]:
    """The parts of the resized masks that the windows reach, column by column.

    Args:
        masks: (w, h) each, column by column.
        corners: (row, column) of the first pixel of each.
        rows: of the resized masks.
        columns: of the resized masks.
        resize: the rule.
    """
    for mask, (row, column), y, x in zip(masks, corners, rows.reached, columns.reached, strict=True):
        padded = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), dtype=np.uint8)
        padded[1:-1, 1:-1] = mask
        weights, terms = (
            [table[x, None] for table in columns.axis.across],
            [table[y, None] for table in rows.axis.along],
        )
        lines = resize.across(*_neighbours(padded, columns.axis, x, column), *weights)
        lines = _transposed(lines.astype(np.uint8, copy=False))
        found = resize.along(*_neighbours(lines, rows.axis, y, row), *terms)
        yield _transposed(found.view(np.uint8)).view(np.bool_)


def _reached(
    axis: ResizeAxis, corners: Sequence[tuple[int, int]], extents: Sequence[tuple[int, int]], of: int
) -> list[slice]:
    """The lines of a resize that lie between any of a window's, of each window; `of` 0 for rows, 1 for columns."""
    firsts, lengths = np.array(corners)[:, of], np.array(extents)[:, of]
    begins, ends = np.searchsorted(axis.high, firsts), np.searchsorted(axis.low, firsts + lengths)
    return [slice(*part) for part in zip(begins.tolist(), ends.tolist(), strict=True)]


def _neighbours(lines: Lines, axis: ResizeAxis, part: slice, first: int) -> tuple[Lines, Lines]:
    """The two lines that each line of a resize is made of, of a window with a line more on either side."""
    before = first - 1
    return lines.take(axis.low[part] - before, axis=0), lines.take(axis.high[part] - before, axis=0)


def _transposed(lines: Lines) -> Lines:
    """Laid out along the other axis; OpenCV is many times quicker at it."""
    return cv2.transpose(lines) if lines.size else lines.T
