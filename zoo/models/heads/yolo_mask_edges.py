"""Where the edges of YOLOv8's masks run, on the host: nothing else of a mask is interpolated.

A pixel lies in the square between the middles of four cells, of whose values it is a mean with weights. Where all four
are foreground it is, and where none is it is not, whatever the weights: rounding keeps the order of what it rounds, so
that a mean of values above the threshold is no less than that of the least value above it, which stays above, and
likewise below. Only squares that an edge runs through, or that lie at the head or the foot of a box, are interpolated.

Legend: D masks whose boxes lie close to each other, C prototypes of W cells across and H along, c and r cells across
and along that the boxes reach, L columns of squares of all masks, M squares that are interpolated, S pixels across a
cell, E edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import torch

from zoo.models.losses.masks import STRIDE

Bits: TypeAlias = npt.NDArray[np.bool_]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float32]
Ints: TypeAlias = npt.NDArray[np.int64]

MARGIN = 1e-6
"""Sums closer to 0 than this may have a sigmoid of one half, or on its other side: their squares are interpolated."""

_LINE = 16
"""Cells: products of matrices so long are quick, and round all alike, as torch's do."""

_HALF = STRIDE // 2
_ALL = (1 << STRIDE) - 1
"""The bits of the pixels of a square that lie one below the other, the lowest uppermost."""

_LOWEST = np.array([0] + [(i & -i).bit_length() - 1 for i in range(1, 2 << STRIDE)])
"""The lowest bit of each byte of changes."""

_PHASES = np.arange(STRIDE)[:, None]  # (S, 1)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Columns of squares, and those of them that are interpolated.

    Attributes:
        mask: int64 (L,), to which each belongs.
        left: int64 (L,), of its first pixels.
        begins: int64 (L,), its first square of those that are interpolated, which is the first of all.
        ends: int64 (L,), behind its last.
        corners: float32 (4, M), the sums of the cells: upper left, lower left, upper right, lower right.
        top: int64 (M,), the first pixels of each square.
        joined: bool (M - 1,), whether a square is the one below that before it.
    """

    mask: Ints
    left: Ints
    begins: Ints
    ends: Ints
    corners: Floats
    top: Ints
    joined: Bits

    def spread(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values (..., L) of columns for their squares (..., M)."""
        return values.repeat(self.ends - self.begins, axis=-1)


def _whole_lines(cells: int) -> int:
    """So many cells, up to whole lines."""
    return -(-cells // _LINE) * _LINE


def _squares(boxes: Ints) -> tuple[Ints, Ints]:
    """The first squares that boxes (D, 4) reach, x and y (D, 2), and the last; they are known by their first cells."""
    return (boxes[:, :2] + _HALF) // STRIDE, (boxes[:, 2:] - 1 + _HALF) // STRIDE


def pad(prototypes: Floats) -> Floats:
    """Prototypes (C, H, W) column by column, (W + 2, C, H + 2 or more), with the outermost cells repeated.

    There are zeros below, up to whole lines.
    """
    channels, height, width = prototypes.shape
    padded = np.zeros((width + 2, channels, _whole_lines(height + 2)), dtype=np.float32)
    for cells, plane in zip(padded.swapaxes(0, 1), prototypes, strict=True):
        cv2.transpose(plane, cells[1:-1, 1 : height + 1])  # many times quicker than numpy
    for outer, inner in ((0, 1), (height + 1, height)):
        padded[:, :, outer] = padded[:, :, inner]
    for outer, inner in ((0, 1), (-1, -2)):
        padded[outer] = padded[inner]
    return padded


def find_edges(
    coefficients: Floats, prototypes: Floats, boxes: Ints, places: Ints, pitch: int, *, sigmoid: bool
) -> Ints:
    """Where runs of foreground begin and, past their end, stop in the columns of masks: int64 (E,), ascending.

    Args:
        coefficients: (D, C).
        prototypes: see `pad`.
        boxes: (D, 4), pixels of the input, the last two beyond it; none is empty.
        places: (D,), of the first pixel of each box, ascending.
        pitch: from a pixel to the one beside it; the one below is the next.
        sigmoid: it is the sigmoid of the prototypes' sums that is interpolated.
    """
    columns = _columns(coefficients, prototypes, boxes, MARGIN if sigmoid else 0.0)
    pixels = _pixels(columns, sigmoid)
    x1, y1, x2, y2 = boxes.T[:, columns.mask]  # (L,) each
    tops, bottoms = columns.top[columns.begins], columns.top[columns.ends - 1] + STRIDE
    cut = np.full(pixels.shape[1], _ALL)
    cut[columns.begins] &= _ALL << y1 - tops
    cut[columns.ends - 1] &= _ALL >> bottoms - y2
    pixels &= cut.astype(np.uint8)
    x = columns.left + _PHASES  # (S, L)
    changes = _changes(pixels, columns)
    changes *= columns.spread((x >= x1) & (x < x2))
    starts = places[columns.mask] + (x - x1) * pitch - y1
    positions = columns.spread(starts) + columns.top
    return _in_order(changes, positions, columns)


def _columns(coefficients: Floats, prototypes: Floats, boxes: Ints, margin: float) -> _Columns:
    """The squares that have to be interpolated; arguments as of `find_edges`, sums within the margin may be of 0."""
    begins, ends = _squares(boxes)
    (left, top), (right, bottom) = begins.min(axis=0), ends.max(axis=0) + 2  # cells
    length = _whole_lines(bottom - top)
    top = min(top, prototypes.shape[2] - length)
    sums = coefficients @ prototypes[left:right, :, top : top + length]  # (c, D, r)
    (i0, j0), (i1, j1) = (begins - (left, top)).T, (ends - (left, top)).T  # (D,) each
    column, row = np.arange(right - left)[:, None], np.arange(length)
    across = (column >= i0) & (column <= i1)  # (c, D)
    along, outermost = (row >= j0[:, None]) & (row <= j1[:, None]), (row == j0[:, None]) | (row == j1[:, None])
    flat, step = sums.ravel(), len(boxes) * length
    needed = _undecided(flat, step, margin).reshape(sums.shape)
    needed |= outermost
    needed &= along  # (D, r), of which the last row is never: no square is the one below that of another mask
    needed &= across[:, :, None]
    found = np.flatnonzero(needed)
    column_of, mask = across.nonzero()
    place = column_of * step + mask * length  # of each column among the sums
    starts = np.searchsorted(found, place + j0[mask])
    stops = np.append(starts[1:], len(found))
    corners = np.stack([flat[found + offset] for offset in (0, 1, step, step + 1)])
    rows = found + (top - place).repeat(stops - starts)
    lefts, tops = (STRIDE * cells - _HALF for cells in (column_of + left, rows))
    return _Columns(mask, lefts, starts, stops, corners, tops, np.diff(found) == 1)


def _undecided(sums: Floats, step: int, margin: float) -> Bits:
    """Whether the cells of each square lie on both sides of 0, or too close to it; the last squares are not whole.

    Args:
        sums: flat.
        step: from one to the one on its right.
        margin: what is too close.
    """
    above = sums > margin
    likely = sums > -margin if margin else above
    all_above, any_above = above[:-1] & above[1:], likely[:-1] | likely[1:]  # of two, one below the other
    all_above, any_above = all_above[:-step] & all_above[step:], any_above[:-step] | any_above[step:]
    undecided = np.zeros(len(sums), dtype=np.bool_)
    np.greater(any_above, all_above, out=undecided[: len(all_above)])
    return undecided


def _pixels(columns: _Columns, sigmoid: bool) -> Bytes:
    """The pixels of squares, uint8 (S, M) with a bit each: bilinear in float32, along first."""
    corners = torch.from_numpy(columns.corners).sigmoid().numpy() if sigmoid else columns.corners
    phases = ((_PHASES + 0.5) / STRIDE).astype(np.float32)
    x, y = phases * columns.spread(columns.left >= 0), phases * (columns.top >= 0)  # (S, M); padding has no weight
    left, right = (corners[k] * (1 - y) + corners[k + 1] * y for k in (0, 2))
    values = left * (1 - x)[:, None] + right * x[:, None]  # (S, S, M)
    above = (values > (0.5 if sigmoid else 0.0)).view(np.uint8)
    above <<= _PHASES.astype(np.uint8)
    pixels: Bytes = np.bitwise_or.reduce(above, axis=1)
    return pixels


def _changes(pixels: Bytes, columns: _Columns) -> Bytes:
    """Which pixels differ from the one above, uint8 (S, M) with a bit each; the highest is of the pixel below a square.

    What is not interpolated is as the cells between.
    """
    joined = columns.joined.view(np.uint8)
    above, below = (columns.corners[:2] > 0).view(np.uint8)
    above[columns.begins] = 0
    below[columns.ends - 1] = 0
    above[1:] *= 1 - joined
    before = np.empty_like(pixels)
    before[:, 0] = above[0]
    before[:, 1:] = (pixels[:, :-1] >> STRIDE - 1) * joined | above[1:]
    changes: Bytes = (pixels | below << STRIDE) ^ (pixels << 1 | before)
    changes[:, :-1] &= _ALL + (1 - joined << STRIDE)
    return changes


def _in_order(changes: Bytes, positions: Ints, columns: _Columns) -> Ints:
    """The positions of all changes, ascending.

    Args:
        changes: (S, M), a bit each.
        positions: (S, M), of the lowest bits.
        columns: of the squares.
    """
    lengths = columns.ends - columns.begins
    order = columns.mask.argsort(kind="stable")
    before = np.empty_like(lengths)
    before[order] = STRIDE * (lengths[order].cumsum() - lengths[order])
    places = columns.spread(before - columns.begins + _PHASES * lengths) + np.arange(changes.shape[1])
    ordered, ordered_positions = np.empty(changes.size, dtype=np.uint8), np.empty(changes.size, dtype=np.int64)
    ordered[places], ordered_positions[places] = changes, positions
    found = [ordered_positions[:0]]
    while len(some := np.flatnonzero(ordered)):  # nearly always one bit
        ordered, ordered_positions = ordered[some], ordered_positions[some]
        found.append(ordered_positions + _LOWEST[ordered])
        ordered &= ordered - 1
    edges: Ints = np.concatenate(found)
    edges.sort(kind="stable")  # by which parts that are in order are merged
    return edges
