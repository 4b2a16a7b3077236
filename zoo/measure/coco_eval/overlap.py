"""Overlaps of detections with the objects of the same image and category, from IoU 0.5 unless told otherwise.

Legend for shapes: E detections in groups that have objects, G objects, P pairs, K keypoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoo.measure.coco_eval.area_iou_bits import IOU_THRESHOLDS
from zoo.measure.coco_eval.oks import Poses, may_be_similar, similarities
from zoo.measure.coco_eval.ranking import Floats, Ints, Places, order_by

_CHUNK = 1 << 14
"""Pairs computed at a time: few enough that the intermediate columns stay in the processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Candidates for a match.

    Attributes:
        detection: (P,), positions in [0, E).
        target: (P,), positions in [0, G).
        iou: float64 (P,), IoU, over the detection's own area where the object is a crowd; OKS of keypoints.
        areas: float64 (E,), pixels of the detections' masks, which are known once these are compared; None for others.
    """

    detection: Ints
    target: Ints
    iou: Floats
    areas: Floats | None = None

    @classmethod
    def join(cls, found: Sequence[tuple[Ints, Ints, Floats]], areas: Floats | None = None) -> Pairs:
        """All pairs, from their columns in parts."""
        nothing = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
        detection, target, iou = (np.concatenate(column) for column in zip(nothing, *found, strict=True))
        return cls(detection=detection, target=target, iou=iou, areas=areas)


def box_pairs(
    boxes: Floats,
    chosen: Ints | Places,
    targets: Floats,
    is_crowd: npt.NDArray[np.bool_],
    first: Ints,
    count: Ints,
    min_iou: float = float(IOU_THRESHOLDS[0]),
) -> Pairs:
    """Overlaps of boxes, in the arithmetic of pycocotools' bbIou, so that equal bits come out.

    Args:
        boxes: (D, 4), x, y, width, height.
        chosen: (E,), positions of those that are compared.
        targets: (G, 4), x, y, width, height, objects of one group side by side.
        is_crowd: (G,), whether the object is a crowd.
        first: (E,), the first object in the detection's group.
        count: (E,), how many objects that group has, at least 1.
        min_iou: overlap from which a pair is kept, above 0.
    """
    # Detections with the most objects come first: those that have a j-th object are then a prefix, for every j,
    # and their columns are plain slices.
    by_count = order_by(count.max(initial=0) - count)
    objects = _Sides.of(targets)
    found: list[tuple[Ints, Ints, Floats]] = []
    for begin in range(0, len(by_count), _CHUNK):
        rows = by_count[begin : begin + _CHUNK]
        detections, lowest, descending = _Sides.of(boxes[chosen[rows]]), first[rows], count[rows]
        for j in range(descending[0]):
            end = len(rows) - int(np.searchsorted(descending[::-1], j, side="right"))
            near, target, iou = _overlapping(detections, objects, is_crowd, slice(end), lowest[:end] + j, min_iou)
            found.append((rows[near], target, iou))
    return Pairs.join(found)


@dataclass(frozen=True, slots=True)
class _Sides:
    """Boxes as columns (N,), in pixels."""

    left: Floats
    top: Floats
    right: Floats
    bottom: Floats
    area: Floats

    @classmethod
    def of(cls, boxes: Floats) -> _Sides:
        left, top, width, height = boxes.T.copy()  # (N, 4) -> four times (N,)
        return cls(left, top, left + width, top + height, width * height)


def _overlapping(
    a: _Sides, b: _Sides, is_crowd: npt.NDArray[np.bool_], rows: slice, target: Ints, min_iou: float
) -> tuple[Ints, Ints, Floats]:
    """Where boxes a[rows] (N,) and b[target] (N,) overlap enough: positions in (N,), their targets, and how much."""
    wide = np.minimum(a.right[rows], b.right.take(target)) - np.maximum(a.left[rows], b.left.take(target))
    near = np.flatnonzero(wide > 0)
    wide, target = wide.take(near), target.take(near)
    high = np.minimum(a.bottom[rows].take(near), b.bottom.take(target))
    high -= np.maximum(a.top[rows].take(near), b.top.take(target))
    meet = np.flatnonzero(high > 0)
    near, target = near.take(meet), target.take(meet)
    shared = wide.take(meet) * high.take(meet)
    own = a.area[rows].take(near)
    iou = shared / np.where(is_crowd.take(target), own, own + b.area.take(target) - shared)
    enough = np.flatnonzero(iou >= min_iou)
    return near.take(enough), target.take(enough), iou.take(enough)


def keypoint_pairs(
    keypoints: Floats, poses: Poses, first: Ints, count: Ints, min_iou: float = float(IOU_THRESHOLDS[0])
) -> Pairs:
    """Similarities of keypoints (OKS), in the arithmetic of pycocotools, so that equal bits come out.

    Args:
        keypoints: (E, K, 3), x, y and anything.
        poses: of G objects, those of one group side by side.
        first: (E,), the first object in the detection's group.
        count: (E,), how many objects that group has, at least 1.
        min_iou: similarity from which a pair is kept, above 0.
    """
    detection = np.repeat(np.arange(len(count)), count)
    nth = np.arange(len(detection)) - np.repeat(np.cumsum(count) - count, count)
    target = first[detection] + nth
    near = may_be_similar(keypoints, poses, detection, target, min_iou)
    detection, target = detection[near], target[near]
    oks = similarities(keypoints, poses, detection, target)
    enough = np.flatnonzero(oks >= min_iou)
    return Pairs(detection=detection[enough], target=target[enough], iou=oks[enough])
