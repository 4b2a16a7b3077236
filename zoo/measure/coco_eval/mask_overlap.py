"""Overlaps of masks, from where their runs of foreground lie: every pair of a chunk at once, and the same quotients of
whole numbers of pixels as pycocotools' `rleIou` gives.

Most pairs are ruled out by the boxes and the areas of their masks. In the others each run of the one mask meets those
of the other in the same columns, which an index finds: for each column the first run that reaches it, and the first
that begins behind it.

Legend for shapes: D masks, N runs of all of them, P pairs. The columns of the boxes about all masks, one mask after
another, are numbered: C places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoo.data.rle_runs import ForegroundRuns, Pixels, in_parts
from zoo.errors import DataError
from zoo.measure.coco_eval.area_iou_bits import IOU_THRESHOLDS
from zoo.measure.coco_eval.overlap import Pairs
from zoo.types import Rle

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedMasks:
    """Masks, the boxes about them, and their runs by column.

    Attributes:
        height, width: int64 (D,), of the images.
        area: int64 (D,), pixels.
        left, right: int64 (D,), the first column and the one behind the last; of an empty mask one column.
        top, bottom: int64 (D,), the first row and the one behind the last, or some further out.
        start, stop: (N,), as in `ForegroundRuns`.
        first_place, last_place: (N,), of the columns of each run; neither ever descends.
        shift: int64 (D,), what leads from a column of a mask to its place.
    """

    height: Ints
    width: Ints
    area: Ints
    left: Ints
    right: Ints
    top: Ints
    bottom: Ints
    start: Pixels
    stop: Pixels
    first_place: Pixels
    last_place: Pixels
    shift: Ints

    @classmethod
    def of(cls, masks: Sequence[Rle]) -> IndexedMasks:
        """Index masks, one at least. Raises ValueError for one that is broken."""
        found = ForegroundRuns.of(masks)
        sizes, start, stop, runs = found.sizes, found.start, found.stop, found.runs
        ends = runs.cumsum()
        first = ends - runs
        heights = sizes[:, 0].astype(np.int32)
        height = heights.repeat(runs)
        # Half a pixel on, no rounding can reach the next column; that is five times as fast as whole division.
        first_column = ((start + 0.5) * (1 / heights).repeat(runs)).astype(np.int32)
        head = first_column * height
        row, end_row = start - head, stop - head
        top, bottom = np.minimum.reduceat(row, first), np.maximum.reduceat(end_row, first)
        top[bottom > heights] = 0
        long = np.flatnonzero(end_row > height)  # those that go on in the next column
        left = first_column[first].astype(np.int64)
        last_column = first_column[ends - 1] + (end_row[ends - 1] - 1).clip(0) // heights
        right = last_column.astype(np.int64) + 1
        shift = (right - left).cumsum() - right
        first_place = first_column + shift.astype(np.int32).repeat(runs)
        last_place = first_place
        if len(long):
            last_place = first_place.copy()
            last_place[long] += (end_row[long] - 1) // height[long]
        return cls(
            height=sizes[:, 0],
            width=sizes[:, 1],
            area=np.add.reduceat(stop - start, first, dtype=np.int64),
            left=left,
            right=right,
            top=top,
            bottom=bottom,
            start=start,
            stop=stop,
            first_place=first_place,
            last_place=last_place,
            shift=shift,
        )

    def runs_by_place(self) -> tuple[Ints, Ints]:
        """Of each place (C,), the first run that reaches it or lies behind it, and the first that begins behind it."""
        count = int(self.last_place[-1]) + 1
        began, ended = (np.bincount(places, minlength=count) for places in (self.first_place, self.last_place))
        return ended.cumsum() - ended, began.cumsum()


def mask_pairs(
    masks: Sequence[Rle],
    targets: Sequence[Rle],
    is_crowd: Bools,
    first: Ints,
    count: Ints,
    min_iou: float = float(IOU_THRESHOLDS[0]),
) -> Pairs:
    """Overlaps of masks.

    Args:
        masks: E masks, those of one group side by side.
        targets: G masks, objects of one group side by side.
        is_crowd: (G,), whether the object is a crowd.
        first: (E,), the first object in the detection's group, ascending.
        count: (E,), how many objects that group has, at least 1.
        min_iou: overlap from which a pair is kept, above 0.

    Raises:
        DataError: a mask cannot be read, or has not the pixels of its image.
    """
    found = []
    areas = np.empty(len(masks))
    for part in in_parts(masks):
        lowest, highest = int(first[part.start]), int(first[part.stop - 1] + count[part.stop - 1])
        try:
            mine, theirs = IndexedMasks.of(masks[part]), IndexedMasks.of(targets[lowest:highest])
        except ValueError as error:
            raise DataError(
                f"a mask that is to be compared is broken: {error}",
                next_step="look at what wrote it: its run lengths are not those of its image",
            ) from None
        areas[part] = mine.area
        counts = count[part]
        a = np.arange(len(counts)).repeat(counts)
        b = np.arange(len(a)) + (first[part] - lowest - counts.cumsum() + counts).repeat(counts)
        near, iou = _overlaps(mine, theirs, a, b, is_crowd[lowest:highest], min_iou)
        found.append((a[near] + part.start, b[near] + lowest, iou))
    return Pairs.join(found, areas)


def _overlaps(
    masks: IndexedMasks, others: IndexedMasks, a: Ints, b: Ints, is_crowd: Bools, min_iou: float
) -> tuple[Ints, Floats]:
    """Where masks[a] (P,) and others[b] (P,) overlap enough: positions in (P,), and how much."""
    left, right = np.maximum(masks.left[a], others.left[b]), np.minimum(masks.right[a], others.right[b])
    high = np.minimum(masks.bottom[a], others.bottom[b]) - np.maximum(masks.top[a], others.top[b])
    area, other_area = masks.area[a], others.area[b]
    most = np.minimum(np.minimum(area, other_area), np.maximum(right - left, 0) * np.maximum(high, 0))
    alone = np.where(is_crowd[b], 0, other_area)  # a crowd adds nothing to the union
    near = np.flatnonzero((most > 0) & (masks.width[a] == others.width[b]) & (masks.height[a] == others.height[b]))
    near = near[most[near] / np.maximum(area[near], area[near] + alone[near] - most[near]) >= min_iou]
    a, b, area, alone = a[near], b[near], area[near], alone[near]
    shared = _shared(masks, others, a, b, left[near], right[near])
    iou = shared / np.where(is_crowd[b], area, area + alone - shared)
    enough = np.flatnonzero(iou >= min_iou)
    return near[enough], iou[enough]


def _shared(masks: IndexedMasks, others: IndexedMasks, a: Ints, b: Ints, left: Ints, right: Ints) -> Ints:
    """How many pixels masks[a] (P,) and others[b] (P,) share, in the columns that the boxes about both have."""
    left, right = left + masks.shift[a], right - 1 + masks.shift[a]  # places of the first and the last common column
    begin = np.searchsorted(masks.last_place, left.astype(np.int32))
    count = np.searchsorted(masks.first_place, right.astype(np.int32), side="right") - begin
    there = np.flatnonzero(count)
    begin, count, left, right = begin[there], count[there], left[there], right[there]
    ends = count.cumsum()
    first = ends - count
    rows = (begin - first).repeat(count)
    rows += np.arange(len(rows))  # (Q,), the runs of the ones
    start, stop = masks.start.take(rows), masks.stop.take(rows)
    # Only at the ends of the common columns a run can reach beyond them.
    enter, leave = masks.first_place.take(rows), masks.last_place.take(rows)
    enter[first] = np.maximum(enter[first], left)
    leave[ends - 1] = np.minimum(leave[ends - 1], right)
    shift = (others.shift[b] - masks.shift[a])[there].repeat(count)
    reaching, behind = others.runs_by_place()
    met = reaching.take(enter + shift)  # (Q,), the first run of the other that each may meet
    several = behind.take(leave + shift) - met
    pixels = np.minimum(stop, others.stop.take(met)) - np.maximum(start, others.start.take(met))
    np.maximum(pixels, 0, out=pixels)
    more = np.flatnonzero(several > 1)
    for i in range(1, int(several.max(initial=0))):
        more = more[several[more] > i]
        other = met[more] + i
        piece = np.minimum(stop[more], others.stop[other]) - np.maximum(start[more], others.start[other])
        pixels[more] += np.maximum(piece, 0)
    shared = np.zeros(len(a), dtype=np.int64)
    if len(there):
        shared[there] = np.add.reduceat(pixels, first, dtype=np.int64)
    return shared
