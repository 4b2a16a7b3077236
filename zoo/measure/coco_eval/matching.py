"""COCO's greedy matching of detections to objects, all groups and all 40 (area, IoU) bits at once.

The rule (`COCOeval.evaluateImg` of pycocotools 2.0.11), for one category in one image and one bit: detections
choose in order of score. Each takes the free object of the highest IoU that reaches the threshold, the later one
where two are equal; objects to be ignored (crowds, and those outside the area range) are taken only where no other
can be, and a crowd is never used up.

Groups are independent of each other, so the n-th choice of every group is made in the same round.
Legend for shapes: E detections, G objects, P pairs, N choices. Bits: see `zoo.measure.coco_eval.area_iou_bits`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoo.measure.coco_eval.area_iou_bits import bits_of_overlaps
from zoo.measure.coco_eval.overlap import Pairs
from zoo.measure.coco_eval.ranking import Ints, order_by, ranks_in_runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """Which detections found an object.

    Attributes:
        matched: int64 (E,), the bits in which the detection has an object.
        ignored: int64 (E,), those of them in which that object is one to be ignored.
        target: int64 (E,), the object at the lowest threshold, whatever its size; -1 for none.
    """

    matched: Ints
    ignored: Ints
    target: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choices:
    """A detection and an object it may take (N,), in the order in which the choices are made."""

    detection: Ints
    target: Ints
    bits: Ints


def match(pairs: Pairs, group: Ints, ignored: Ints, is_crowd: npt.NDArray[np.bool_]) -> Matches:
    """Match detections to objects.

    Args:
        pairs: candidates; detections of one group are side by side, best score first.
        group: (E,), the group of each detection.
        ignored: int64 (G,), the bits in which an object is to be ignored.
        is_crowd: (G,), whether the object is a crowd.
    """
    choices = _in_order(pairs, ignored, detections=len(group))
    turn = ranks_in_runs(group[choices.detection])
    by_turn = order_by(turn)
    ends = np.cumsum(np.bincount(turn)).tolist()
    detection, target, bits = (column[by_turn] for column in (choices.detection, choices.target, choices.bits))
    matched, matched_ignored = np.zeros_like(group), np.zeros_like(group)
    matched_target = np.full_like(group, -1)
    taken = np.zeros_like(ignored)
    used_up = np.where(is_crowd, 0, -1)  # which bits of an object a match uses up
    for begin, end in zip([0, *ends], ends, strict=False):
        d, g = detection[begin:end], target[begin:end]  # within a round no two are of one group: all are distinct
        won = bits[begin:end] & ~(matched[d] | taken[g])
        matched[d] |= won
        matched_ignored[d] |= won & ignored[g]
        first = (won & 1).astype(bool)  # the bit of all areas and the lowest threshold
        matched_target[d[first]] = g[first]
        taken[g] |= won & used_up[g]
    return Matches(matched=matched, ignored=matched_ignored, target=matched_target)


def _in_order(pairs: Pairs, ignored: Ints, *, detections: int) -> _Choices:
    """The choices of each detection, by its preference."""
    by_preference = np.lexsort((-pairs.target, -pairs.iou, pairs.detection))
    detection, target = pairs.detection[by_preference], pairs.target[by_preference]
    bits = bits_of_overlaps(pairs.iou[by_preference])
    # A detection with several candidates goes through them twice: first in the bits where they count, then in those
    # where they are to be ignored. With a single candidate the order of its bits cannot matter.
    several = np.bincount(detection, minlength=detections)[detection] > 1
    second = np.flatnonzero(several & (ignored[target] != 0))
    first_bits = np.where(several, bits & ~ignored[target], bits)
    first = np.flatnonzero(first_bits)
    chosen = np.concatenate([first, second])
    bits = np.concatenate([first_bits[first], bits[second] & ignored[target[second]]])
    is_second = np.repeat([0, 1], [len(first), len(second)])
    order = order_by(detection[chosen] * 2 + is_second)
    chosen = chosen[order]
    return _Choices(detection=detection[chosen], target=target[chosen], bits=bits[order])
