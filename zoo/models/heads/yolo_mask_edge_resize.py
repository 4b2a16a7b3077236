"""Edges of YOLOv8's masks in the input to those in the image file, by the rules of `yolo_mask_resize`.

A line of a resized mask is made of two lines of the mask. Down a resized column, those two columns change at their
edges alone; so do the pixels between two edges, but where one column is foreground and the other is not: there, and
across an edge, each pixel is worked out.

Legend: D masks, E edges, L resized columns of all masks, N changes of either of a column's two, P stretches of pixels
before and behind changes, M pixels that stand for a stretch or for themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from zoo.models.heads.yolo_mask_resize import MaskResize, ResizeAxis
from zoo.types import ImageGeometry, Size

Ints: TypeAlias = npt.NDArray[np.int64]
Numbers: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class EdgeResize:
    """From the image in the network's input to its file.

    Attributes:
        resize: the rule.
        size: of the image file.
        pitch: between columns in the input, of which edges are counted: a place more than it has rows.
        rows: of the resized masks.
        columns: of the resized masks.
    """

    resize: MaskResize
    size: Size
    pitch: int
    rows: ResizeAxis
    columns: ResizeAxis

    @classmethod
    def of(cls, geometry: ImageGeometry, resize: MaskResize) -> EdgeResize:
        """For one image."""
        size, source = geometry.original_size, geometry.size
        rows, columns = (resize.axis(*sides) for sides in zip(size, source, strict=True))
        return cls(resize, size, source[0] + 1, rows, columns)

    def __call__(self, edges: Ints, firsts: Ints, widths: Ints) -> Ints:
        """Edges of resized masks, int64 (E',), see `zoo.data.rle.encode_edges`.

        Args:
            edges: (E,), ascending, as places in columns of this pitch, those of one mask's window after another's.
            firsts: (D,), the column of the image where each window begins.
            widths: (D,), of the windows.
        """
        column, mask, keys, states = self._merged(edges, firsts, widths)
        line, row = np.divmod(keys, self.pitch)
        column, mask = column[line], mask[line]  # (N,)
        before = np.append(0, states)[:-1]  # nothing at the head of a column: the last one ended with nothing
        sums, sums_before = self._across(states, column), self._across(before, column)
        above, below = (np.searchsorted(lines, np.arange(self.pitch)) for lines in (self.rows.high, self.rows.low))
        begins = np.stack((above[row], below[row]), axis=1).ravel()  # (P,), of what lies across and behind a change
        lengths = np.diff(begins, append=0)
        behind = lengths[1::2]
        alike = (states == 0) | (states == 3)
        behind[alike] = np.minimum(behind[alike], 1)
        behind[np.diff(line, append=-1) != 0] = 1  # the rest of a column
        stretch = np.arange(len(lengths)).repeat(lengths)  # (M,)
        within = np.arange(len(stretch)) - (lengths.cumsum() - lengths).repeat(lengths)
        y = begins[stretch] + within
        terms = [table[np.minimum(y, self.size[0] - 1)] for table in self.rows.along]
        change = stretch >> 1
        upper = np.stack((sums_before, sums), axis=1).ravel()[stretch]
        pixels = self.resize.along(upper, sums[change], *terms).astype(np.bool_)
        found = np.flatnonzero(pixels ^ np.append(False, pixels)[:-1])
        change = change[found]
        height = self.size[0]
        places: Ints = mask[change] * (height * self.size[1] + 1) + column[change] * height + y[found]
        return places

    def _merged(self, edges: Ints, firsts: Ints, widths: Ints) -> tuple[Ints, Ints, Ints, Ints]:
        """The column and the mask (L,) of resized columns, and places and states (N,) of changes in their two columns.

        Bit 0 of a state is the first of the two, bit 1 the second.
        """
        begins = np.searchsorted(self.columns.high, firsts)
        counts = np.searchsorted(self.columns.low, firsts + widths) - begins
        mask = np.arange(len(firsts)).repeat(counts)
        column = np.arange(len(mask)) + (begins - counts.cumsum() + counts).repeat(counts)
        window = widths.cumsum() - widths  # the first column of each
        stops = np.searchsorted(edges, np.arange(1, widths.sum() + 1) * self.pitch)
        starts = np.append(0, stops[:-1])
        merged = []
        for which, lines in enumerate((self.columns.low, self.columns.high)):
            place = lines[column] - firsts[mask]
            inside = (place >= 0) & (place < widths[mask])
            source = np.where(inside, place + window[mask], 0)
            many = np.where(inside, stops[source] - starts[source], 0)
            some = np.arange(many.sum()) + (starts[source] - many.cumsum() + many).repeat(many)
            keys = edges[some] + ((np.arange(len(mask)) - source) * self.pitch).repeat(many)
            merged.append(2 * keys + which)
        events = np.concatenate(merged)
        events.sort(kind="stable")  # by which two parts that are in order are merged
        second = (events & 1).cumsum()
        states = (np.arange(1, len(events) + 1) - second & 1) + 2 * (second & 1)
        keys = events >> 1
        last = np.diff(keys, append=-1) != 0  # of those at one place
        return column, mask, keys[last], states[last]

    def _across(self, states: Ints, column: Ints) -> Numbers:
        """Sums of two columns' pixels, uint8 (N,)."""
        first, second = (states & 1).astype(np.int16), (states >> 1).astype(np.int16)
        sums: Numbers = self.resize.across(first, second, *(table[column] for table in self.columns.across))
        return sums.astype(np.uint8)
