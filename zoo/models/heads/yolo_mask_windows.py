"""YOLOv8's masks on the host: each in the window of its box, and of that only the cells that an edge runs through.

A mask has four times the resolution of the prototypes' grid. The sixteen pixels between the middles of four cells of
the grid, a square, lie on the side of the threshold that these four lie on where they agree.

Legend: D detections, W cells of a grid across and H along, M squares whose cells do not agree, w and h of a window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
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

_MASKS_AT_A_TIME = 32
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
    (left, top), size, original_size = geometry.offset, geometry.size, geometry.original_size
    windows = [_window(box) for box in _whole_boxes(boxes.numpy(), geometry)]
    masks: list[Pixels] = []
    for sums, part in _sums(coefficients, prototypes, windows):
        masks += _cut(sums, part, sigmoid)
    corners = [(window.box[1] - top, window.box[0] - left) for window in windows]
    if size != original_size:
        masks, corners = _resize(masks, corners, geometry, resize)
    return encode_windows([mask.view(np.bool_).T for mask in masks], corners, original_size)


def _sums(
    coefficients: Tensor, prototypes: Tensor, windows: Sequence[_Window]
) -> Iterator[tuple[Floats, Sequence[_Window]]]:
    """Sums (n, W + 2, H + 2) of prototypes, column by column, and the windows that they are for; one buffer for all.

    The outermost cells are repeated on all sides.
    """
    padded = F.pad(prototypes[None], (1, 1, 1, 1), mode="replicate")[0].transpose(1, 2)  # (C, W + 2, H + 2)
    flat = padded.flatten(1)
    parts = coefficients.chunk(-(-len(coefficients) // _MASKS_AT_A_TIME))
    buffer = flat.new_empty((len(parts[0]), flat.shape[1]))
    begin = 0
    for part in parts:
        sums = torch.mm(part, flat, out=buffer[: len(part)]).view(len(part), *padded.shape[1:])
        yield sums.numpy(), windows[begin : begin + len(part)]
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


def _cut(sums: Floats, windows: Sequence[_Window], sigmoid: bool) -> list[Pixels]:
    """The masks in their windows' boxes, (w, h) each, 0 or 1, column by column."""
    counts = [4 * window.size[0] * window.size[1] for window in windows]
    places = [0, *np.cumsum(counts, dtype=np.int64).tolist()]
    words = np.empty(places[-1], dtype=np.uint32)  # four pixels of a column each
    unsure, masks = [], []
    for grid, window, place, end in zip(sums, windows, places[:-1], places[1:], strict=True):
        across, along = window.size
        cells = grid[window.left : window.left + across + 1, window.top : window.top + along + 1]
        votes = (cells > SURE).view(np.int8) + (cells >= -SURE)  # 0: background, 2: foreground
        pairs = votes[1:] + votes[:-1]
        squares = pairs[:, 1:] + pairs[:, :-1]  # (across, along), 0 to 8
        whole = squares == 8
        columns = words[place:end].reshape(across, 4, along)
        columns[:] = (whole * _FOREGROUND)[:, None]
        unsure.append(np.flatnonzero((squares != 0) != whole))
        masks.append(columns.view(np.uint8).reshape(4 * across, 4 * along)[window.columns, window.rows])
    _decide(sums, windows, places, unsure, words, sigmoid)
    return masks


def _decide(
    sums: Floats,
    windows: Sequence[_Window],
    places: Sequence[int],
    unsure: Sequence[Ints],
    words: npt.NDArray[np.uint32],
    sigmoid: bool,
) -> None:
    """Interpolate within all squares whose cells do not agree; `words` is written."""
    flat, (width, height) = sums.reshape(-1), sums.shape[1:]
    owner = np.arange(len(windows)).repeat([len(squares) for squares in unsure])
    along = np.array([window.size[1] for window in windows])
    first = np.array([(d * width + window.left) * height + window.top for d, window in enumerate(windows)])
    squares = np.concatenate(unsure)
    for begin in range(0, len(squares), _SQUARES_AT_A_TIME):
        part = slice(begin, begin + _SQUARES_AT_A_TIME)
        mask = owner[part]
        across, down = np.divmod(squares[part], along[mask])
        cell = first[mask] + across * height + down
        cells = np.stack([flat[cell], flat[cell + 1], flat[cell + height], flat[cell + height + 1]])
        if sigmoid:
            cells = torch.from_numpy(cells).sigmoid().numpy()
        first_square = cell % (width * height)
        pixels = _interpolate(cells, first_square // height > 0, first_square % height > 0)
        bytes_ = (pixels > (0.5 if sigmoid else 0.0)).transpose(0, 2, 1).copy()  # (4, M, 4), columns' pixels last
        place = np.array(places)[mask] + across * 4 * along[mask] + down
        for column in range(4):
            words[place + column * along[mask]] = bytes_[column].view(np.uint32)[:, 0]


def _interpolate(cells: Floats, across: Bits, along: Bits) -> Floats:
    """Pixels (4, 4, M) of squares, column by column, bilinear, in float32, along first.

    Args:
        cells: (4, M), of each square: two along, then the two next to them.
        across: (M,), whether there is a cell before the square's second one; else it alone counts.
        along: likewise.
    """
    x, y = _WEIGHTS * across, _WEIGHTS * along  # (4, M)
    first, second = (cells[i] * (1 - y) + cells[i + 1] * y for i in (0, 2))  # (4, M)
    pixels: Floats = first * (1 - x)[:, None] + second * x[:, None]
    return pixels


def _resize(
    masks: Sequence[Pixels], corners: Sequence[tuple[int, int]], geometry: ImageGeometry, resize: MaskResize
) -> tuple[list[Pixels], list[tuple[int, int]]]:
    """Windows of masks in the masks of another size: the parts that the windows reach, and where these begin.

    Args:
        masks: (w, h) each, column by column.
        corners: (row, column) of the first pixel of each.
        geometry: with the two sizes.
        resize: the rule.

    Returns:
        The parts, column by column, and their (row, column).
    """
    rows, columns = (resize.axis(*sides) for sides in zip(geometry.original_size, geometry.size, strict=True))
    across = _reached(columns, [corner[1] for corner in corners], [mask.shape[0] for mask in masks])
    along = _reached(rows, [corner[0] for corner in corners], [mask.shape[1] for mask in masks])
    found = []
    for mask, (row, column), x, y in zip(masks, corners, across, along, strict=True):
        padded = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), dtype=np.uint8)
        padded[1:-1, 1:-1] = mask
        weights, terms = [table[x, None] for table in columns.across], [table[y, None] for table in rows.along]
        lines = _transposed(resize.across(*_neighbours(padded, columns, x, column), *weights))
        found.append(_transposed(resize.along(*_neighbours(lines, rows, y, row), *terms).view(np.uint8)))
    return found, [(y.start, x.start) for x, y in zip(across, along, strict=True)]


def _reached(axis: ResizeAxis, firsts: Sequence[int], extents: Sequence[int]) -> list[slice]:
    """The lines of a resize that lie between any of a window's, of each window."""
    begins = np.searchsorted(axis.high, firsts).tolist()
    ends = np.searchsorted(axis.low, np.add(firsts, extents)).tolist()
    return [slice(*part) for part in zip(begins, ends, strict=True)]


def _neighbours(lines: Lines, axis: ResizeAxis, part: slice, first: int) -> tuple[Lines, Lines]:
    """The two lines that each line of a resize is made of, of a window with a line more on either side."""
    before = first - 1
    return lines.take(axis.low[part] - before, axis=0), lines.take(axis.high[part] - before, axis=0)


def _transposed(lines: Lines) -> Lines:
    """Laid out along the other axis; OpenCV is many times quicker at it."""
    return cv2.transpose(lines) if lines.size else lines.T
