"""Non-maximum suppression within groups (classes, or pyramid levels), by the exact rules of the frameworks.

Greedy in all of them: best score first, and a box falls when its IoU with a kept one is above the threshold,
strictly. They differ in how groups are kept apart, on which borderline overlaps depend.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms, nms

from zoo.models.boxes import EXCLUSIVE, BoxConvention
from zoo.models.device_constants import constant

SPLIT_FROM = 10_000
"""From this many boxes on mmcv suppresses groups one by one instead of in one shifted call."""

TOGETHER, TOGETHER_ON_CPU = 100_000, 4_000
"""Up to this many coordinates torchvision moves groups apart instead of suppressing them one by one. Up to the former a
GPU suppresses all groups at once here as well: of one by one its host would wait for each."""


class GroupedNms(Protocol):
    """Greedy suppression among the boxes of each group."""

    def __call__(
        self, boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float, eligible: Tensor | None = None
    ) -> Tensor:
        """Indices of the survivors, best score first.

        Args:
            boxes: (N, 4); where not all are eligible, none of them left of 0 or above it.
            scores: (N,).
            groups: integer (N,), from 0 on.
            iou_threshold: overlap above which the lower score falls.
            eligible: bool (N,): those that take part; None: all. It is as if there were no others.
        """
        ...


class OffsetNms:
    """mmcv's `batched_nms`: groups are moved apart and suppressed together.

    Facts that published numbers depend on to the last decimal: each group is shifted by a multiple of (largest
    coordinate + 1) in float32, so borderline overlaps are rounded; the threshold is a float32; from 10,000
    boxes on each group is suppressed by itself, still shifted. A GPU suppresses these together too, which gives the
    same: boxes that begin at 0 or beyond lie apart from those of the next group as long as float32 tells their ends
    apart, which it does up to 2^23 = 8.4 million, 80 classes of 100,000 pixels. The order of equal scores stays.
    """

    def __call__(
        self, boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float, eligible: Tensor | None = None
    ) -> Tensor:
        """Indices of the survivors; see `GroupedNms`."""
        threshold = float(np.float32(iou_threshold))
        if len(boxes) < SPLIT_FROM:
            return _shifted_nms(boxes, scores, groups, threshold, eligible)
        if _at_once(boxes):
            kept = _shifted_nms(boxes, scores, groups, threshold, eligible).sort().values
        elif eligible is not None:
            return _of_eligible(self, boxes, scores, groups, iou_threshold, eligible)
        else:
            kept = _survivors(boxes + _shifts(boxes, groups), scores, groups, threshold)
        return kept[scores[kept].argsort(descending=True)]  # as mmcv sorts: not stably, so that ties come as its do


class ExactNms:
    """Every group by itself, where it is: nothing is shifted, and so nothing rounded.

    A GPU shifts them all the same, in float64, which has room for a float32 and its shift, and so suppresses all
    together. Its overlaps are more exact than those in float32, which differ from them in the seventh digit: only a box
    that overlaps by the threshold to that digit may fall by one and stand by the other. The threshold is the next
    float32 that is not below it, so that an overlap of the very threshold suppresses nothing.

    Args:
        convention: of the boxes. Inclusive ones overlap as boxes a pixel wider and higher do.
    """

    def __init__(self, convention: BoxConvention = EXCLUSIVE) -> None:
        self.convention = convention

    def __call__(
        self, boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float, eligible: Tensor | None = None
    ) -> Tensor:
        """Indices of the survivors; see `GroupedNms`."""
        at_once = _at_once(boxes)
        if eligible is not None and not at_once:
            return _of_eligible(self, boxes, scores, groups, iou_threshold, eligible)
        if self.convention.inclusive:
            boxes = boxes + constant((0, 0, 1, 1), boxes.dtype, boxes.device)
        if at_once:
            boxes = boxes.double()
            if eligible is None:  # a box may begin left of 0
                boxes = boxes - boxes.amin().clamp(max=0)
            return _shifted_nms(boxes, scores.double(), groups, _not_below(iou_threshold), eligible)
        kept = _survivors(boxes, scores, groups, iou_threshold)
        return kept[scores[kept].argsort(descending=True, stable=True)]


class BatchedNms:
    """torchvision's own: groups moved apart and suppressed together, or, where boxes are many, one by one and unmoved.

    Args:
        first: number that the groups are counted from; 1 where background is class 0, as in its softmax classifiers.
    """

    def __init__(self, first: int = 0) -> None:
        self.first = first

    def __call__(
        self, boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float, eligible: Tensor | None = None
    ) -> Tensor:
        """Indices of the survivors; see `GroupedNms`."""
        groups = groups + self.first if self.first else groups
        if boxes.numel() <= (TOGETHER_ON_CPU if boxes.device.type == "cpu" else TOGETHER):
            return _shifted_nms(boxes, scores, groups, iou_threshold, eligible)
        if eligible is not None:
            return _of_eligible(BatchedNms(), boxes, scores, groups, iou_threshold, eligible)
        keep: Tensor = batched_nms(boxes, scores, groups, iou_threshold)
        return keep


def _at_once(boxes: Tensor) -> bool:
    """Whether all groups of boxes (N, 4), of which there are some, are suppressed by one call on a GPU."""
    return boxes.device.type == "cuda" and 0 < boxes.numel() <= TOGETHER


def _not_below(threshold: float) -> float:
    """The next float32: what a GPU holds an overlap against, whatever type that has."""
    near = np.float32(threshold)
    return float(near if float(near) >= threshold else np.nextafter(near, np.float32(np.inf)))


def _of_eligible(
    nms_of_all: GroupedNms, boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float, eligible: Tensor
) -> Tensor:
    """Indices of what a suppression leaves of the boxes that take part."""
    chosen = eligible.nonzero()[:, 0]
    return chosen[nms_of_all(boxes[chosen], scores[chosen], groups[chosen], iou_threshold)]


def _shifted_nms(
    boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float, eligible: Tensor | None
) -> Tensor:
    """Indices of what is left of groups moved apart; the host waits once, however many boxes take part."""
    if not len(boxes):
        return torch.empty(0, dtype=torch.int64, device=boxes.device)
    if eligible is None:
        keep: Tensor = nms(boxes + _shifts(boxes, groups), scores, iou_threshold)
        return keep
    # The others go where nothing else lies, and one more with them, all scored last: one of these is left, the last.
    nowhere = constant((-2, -2, -1, -1), boxes.dtype, boxes.device)
    last = constant((-math.inf,), scores.dtype, scores.device)
    boxes = torch.where(eligible[:, None], boxes, nowhere)
    boxes = torch.cat((boxes + _shifts(boxes, groups * eligible), nowhere[None]))
    scores = torch.cat((torch.where(eligible, scores, last), last))
    keep = nms(boxes, scores, iou_threshold)
    return keep[:-1]


def _shifts(boxes: Tensor, groups: Tensor) -> Tensor:
    """How far each of boxes (N, 4) is moved to lie apart from those of other groups (N,): (N, 1), in float32."""
    return (groups * (boxes.max() + 1))[:, None]


def _survivors(boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float) -> Tensor:
    """Indices, ascending, of what each group by itself leaves."""
    if not len(boxes):
        return torch.empty(0, dtype=torch.int64, device=boxes.device)
    groups, order = groups.sort(stable=True)
    boxes, scores = boxes[order], scores[order]
    starts = np.flatnonzero(np.diff(groups.cpu().numpy())) + 1  # the host waits once for all groups' sizes
    kept = []
    for start, stop in pairwise([0, *starts.tolist(), len(order)]):
        group = order[start:stop]
        if len(group) > 1:
            group = group[nms(boxes[start:stop], scores[start:stop], iou_threshold)]
        kept.append(group)
    return torch.cat(kept).sort().values
