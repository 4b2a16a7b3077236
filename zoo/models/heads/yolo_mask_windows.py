"""YOLOv8's masks on the host: each in the window of its box, and of that only the cells that an edge runs through.

A mask has four times the resolution of the prototypes' grid. The sixteen pixels between the middles of four cells of
the grid, a square, lie on the side of the threshold that these four lie on where they agree.

Legend: D detections, W cells of a grid across and H along, M squares whose cells do not agree, w and h of a window.
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
from zoo.types import ImageGeometry, Rle

Floats: TypeAlias = npt.NDArray[np.float32]
Ints: TypeAlias = npt.NDArray[np.int64]
Pixels: TypeAlias = npt.NDArray[np.uint8]

SURE = np.float32(1e-4)
"""Sums so far from the threshold do not reach it by any rounding, nor do their sigmoids."""

_WEIGHTS = np.array([0.125, 0.375, 0.625, 0.875], dtype=np.float32)[:, None]
"""Of a square's second cell in its four pixels along an axis."""

_FOREGROUND = np.uint32(0x01010101)
"""Four pixels of a column."""

_MASKS_AT_A_TIME = 16
_SQUARES_AT_A_TIME = 1 << 12
"""Few enough that they stay in a processor's cache."""


@dataclass(frozen=True, slots=True)
class _Window:
    """The squares that cover a box: w across and h along, the first of them between padded cells left and top.

    Attributes:
        box: x1, y1, x2, y2, pixels of the input, the last two beyond it.
        left: square across.
        top: square along.
        size: squares across and along.
    """

    box: tuple[int, int, int, int]
    left: int
    top: int
    size: tuple[int, int]

    @property
    def columns(self) -> slice:
        """Of the squares' pixels, those of the box."""
        first = 4 * self.left - 2
        return slice(self.box[0] - first, self.box[2] - first)

    @property
    def rows(self) -> slice:
        """Of the squares' pixels, those of the box."""
        first = 4 * self.top - 2
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
    masks = _cut_all(coefficients[order], prototypes, windows, sigmoid)
    (left, top), size, original_size = geometry.offset, geometry.size, geometry.original_size
    corners = [(window.box[1] - top, window.box[0] - left) for window in windows]
    if size != original_size:
        rows, columns = (resize.axis(*sides) for sides in zip(original_size, size, strict=True))
        extents = [(window.box[3] - window.box[1], window.box[2] - window.box[0]) for window in windows]
        along, across = (_reached(axis, corners, extents, i) for i, axis in enumerate((rows, columns)))
        masks = _resize(masks, corners, _Lines(rows, along), _Lines(columns, across), resize)
        corners = [(y.start, x.start) for y, x in zip(along, across, strict=True)]
    encoded = encode_windows((mask.view(np.bool_).T for mask in masks), corners, original_size)
    return [rle for _, rle in sorted(zip(order, encoded, strict=True))]


def _cut_all(coefficients: Tensor, prototypes: Tensor, windows: Sequence[_Window], sigmoid: bool) -> Iterator[Pixels]:
    """The masks in their windows' boxes, (w, h) each, 0 or 1, column by column; some masks at a time."""
    planes = [cv2.copyMakeBorder(cv2.transpose(x), 1, 1, 1, 1, cv2.BORDER_REPLICATE) for x in prototypes.numpy()]
    padded = torch.from_numpy(np.stack(planes))  # (C, W + 2, H + 2), column by column
    flat, side = padded.flatten(1), padded.shape[2]
    buffer = flat.new_empty(_MASKS_AT_A_TIME * flat.shape[1])
    begin = 0
    for part in coefficients.chunk(-(-len(coefficients) // _MASKS_AT_A_TIME)):
        some = windows[begin : begin + len(part)]
        first, last = min(x.left for x in some), max(x.left + x.size[0] for x in some)
        cells = flat[:, first * side : (last + 1) * side]  # of the columns that these masks reach
        sums = torch.mm(part, cells, out=buffer[: len(part) * cells.shape[1]].view(len(part), -1))
        yield from _cut(sums.view(len(part), -1, side).numpy(), first, some, sigmoid)
        begin += len(part)


def _whole_boxes(boxes: Floats, geometry: ImageGeometry) -> list[tuple[int, int, int, int]]:
    """The pixels of each box that lie in the image: x1, y1, and x2 and y2 beyond them."""
    (left, top), (height, width) = geometry.offset, geometry.size
    low = np.array([left, top, left, top])
    high = low + np.array([width, height, width, height])
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in np.ceil(boxes).clip(low, high).astype(np.int64).tolist()]


def _window(box: tuple[int, int, int, int]) -> _Window:
    x1, y1, x2, y2 = box
    if x2 <= x1 or y2 <= y1:
        return _Window((x1, y1, x1, y1), (x1 + 2) // 4, (y1 + 2) // 4, (0, 0))
    left, top = (x1 + 2) // 4, (y1 + 2) // 4
    return _Window(box, left, top, ((x2 + 1) // 4 + 1 - left, (y2 + 1) // 4 + 1 - top))


def _cut(sums: Floats, first: int, windows: Sequence[_Window], sigmoid: bool) -> list[Pixels]:
    """The masks in their windows' boxes, (w, h) each, 0 or 1, column by column.

    Args:
        sums: (n, columns, H + 2).
        first: the column that the sums begin with.
        windows: n.
        sigmoid: it is the sums' sigmoid that is interpolated.
    """
    counts = [4 * window.size[0] * window.size[1] for window in windows]
    places = [0, *np.cumsum(counts, dtype=np.int64).tolist()]
    words = np.empty(places[-1], dtype=np.uint32)  # four pixels of a column each
    unsure, masks = [], []
    for grid, window, place, end in zip(sums, windows, places[:-1], places[1:], strict=True):
        across, along = window.size
        left = window.left - first
        cells = grid[left : left + across + 1, window.top : window.top + along + 1]
        votes = (cells > SURE).view(np.int8) + (cells >= -SURE).view(np.int8)  # 0: background, 2: foreground
        pairs = votes[1:] + votes[:-1]
        squares = pairs[:, 1:] + pairs[:, :-1]  # (across, along), 0 to 8
        whole = squares == 8
        columns = words[place:end].reshape(across, 4, along)
        np.multiply(whole[:, None], _FOREGROUND, out=columns)
        unsure.append(((squares != 0) != whole).ravel().nonzero()[0])
        masks.append(columns.view(np.uint8).reshape(4 * across, 4 * along)[window.columns, window.rows])
    _decide(sums, first, windows, np.array(places), unsure, words, sigmoid)
    return masks


def _decide(
    sums: Floats,
    first: int,
    windows: Sequence[_Window],
    places: Ints,
    unsure: Sequence[Ints],
    words: npt.NDArray[np.uint32],
    sigmoid: bool,
) -> None:
    """Interpolate within all squares whose cells do not agree; `words` is written.

    Args:
        sums: (n, columns, H + 2).
        first: the column that the sums begin with.
        windows: n.
        places: where the words of each begin.
        unsure: of each window the squares, column by column.
        words: four pixels of a column each.
        sigmoid: it is the sums' sigmoid that is interpolated.
    """
    flat, (width, height) = sums.reshape(-1), sums.shape[1:]
    owners = np.arange(len(windows)).repeat([len(squares) for squares in unsure])
    alongs = np.array([window.size[1] for window in windows])
    lefts, tops = (np.array([getattr(window, name) for window in windows]) for name in ("left", "top"))
    corners = (np.arange(len(windows)) * width + lefts - first) * height + tops
    squares = np.concatenate(unsure)
    for begin in range(0, len(squares), _SQUARES_AT_A_TIME):
        owner = owners[begin : begin + _SQUARES_AT_A_TIME]  # (M,)
        along = alongs[owner]
        column, row = np.divmod(squares[begin : begin + _SQUARES_AT_A_TIME], along)
        cell = corners[owner] + column * height + row
        cells = np.stack([flat.take(cell + step) for step in (0, 1, height, height + 1)])
        if sigmoid:
            cells = torch.from_numpy(cells).sigmoid().numpy()
        pixels = _interpolate(cells, lefts[owner] + column > 0, tops[owner] + row > 0)
        bits = np.empty((4, len(cell), 4), dtype=np.bool_)  # the pixels of a column last
        np.greater(pixels.transpose(0, 2, 1), 0.5 if sigmoid else 0.0, out=bits)
        place = places[owner] + column * 4 * along + row
        for part in bits.view(np.uint32)[..., 0]:
            words[place] = part
            place += along


def _interpolate(cells: Floats, across: Bits, along: Bits) -> Floats:
    """Pixels (4, 4, M) of squares, column by column, bilinear, in float32, along first.

    Args:
        cells: (4, M), of each square: two along, then the two next to them.
        across: (M,), whether there is a cell before the square's second one; else that one alone counts.
        along: likewise.
    """
    x, y = (_WEIGHTS if inner.all() else _WEIGHTS * inner for inner in (across, along))  # (4, 1) or (4, M)
    first, second = (cells[i] * (1 - y) + cells[i + 1] * y for i in (0, 2))  # (4, M)
    pixels: Floats = first * (1 - x)[:, None] + second * x[:, None]
    return pixels


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
    masks: Iterable[Pixels], corners: Sequence[tuple[int, int]], rows: _Lines, columns: _Lines, resize: MaskResize
) -> Iterator[Pixels]:
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
        lines = _transposed(resize.across(*_neighbours(padded, columns.axis, x, column), *weights))
        yield _transposed(resize.along(*_neighbours(lines, rows.axis, y, row), *terms).view(np.uint8))


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
