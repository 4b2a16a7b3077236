"""Non-maximum suppression within groups (classes, or pyramid levels), by the exact rules of the frameworks.

Greedy in all of them: best score first, and a box falls when its IoU with a kept one is above the threshold,
strictly. They differ in how groups are kept apart, on which borderline overlaps depend.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms, nms

from zoo.models.boxes import EXCLUSIVE, BoxConvention

SPLIT_FROM = 10_000
"""From this many boxes on mmcv suppresses groups one by one instead of in one shifted call."""


class GroupedNms(Protocol):
    """Greedy suppression among the boxes of each group."""

    def __call__(self, boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float) -> Tensor:
        """Indices of the survivors, best score first.

        Args:
            boxes: (N, 4).
            scores: (N,).
            groups: integer (N,).
            iou_threshold: overlap above which the lower score falls.
        """
        ...


class OffsetNms:
    """mmcv's `batched_nms`: groups are moved apart and suppressed together.

    Facts that published numbers depend on to the last decimal: each group is shifted by a multiple of (largest
    coordinate + 1) in float32, so borderline overlaps are rounded; the threshold is a float32; from 10,000
    boxes on each group is suppressed by itself, still shifted.
    """

    def __call__(self, boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float) -> Tensor:
        """Indices of the survivors; see `GroupedNms`."""
        if boxes.numel() == 0:
            return torch.empty(0, dtype=torch.int64, device=boxes.device)
        threshold = float(np.float32(iou_threshold))
        shifted = boxes + (groups.to(boxes.dtype) * (boxes.max() + 1))[:, None]
        if len(boxes) < SPLIT_FROM:
            keep: Tensor = nms(shifted, scores, threshold)
            return keep
        kept = _survivors(shifted, scores, groups, threshold)
        return kept[scores[kept].argsort(descending=True)]  # as mmcv sorts: not stably, so that ties come as its do


class ExactNms:
    """Every group by itself, where it is: nothing is shifted, and so nothing rounded.

    Args:
        convention: of the boxes. Inclusive ones overlap as boxes a pixel wider and higher do.
    """

    def __init__(self, convention: BoxConvention = EXCLUSIVE) -> None:
        self.convention = convention

    def __call__(self, boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float) -> Tensor:
        """Indices of the survivors; see `GroupedNms`."""
        if self.convention.inclusive:
            boxes = boxes + boxes.new_tensor((0, 0, 1, 1))
        kept = _survivors(boxes, scores, groups, iou_threshold)
        return kept[scores[kept].argsort(descending=True, stable=True)]


class BatchedNms:
    """torchvision's own: groups moved apart and suppressed together, or, where boxes are many, one by one and unmoved.

    Args:
        first: number that the groups are counted from; 1 where background is class 0, as in its softmax classifiers.
    """

    def __init__(self, first: int = 0) -> None:
        self.first = first

    def __call__(self, boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float) -> Tensor:
        """Indices of the survivors; see `GroupedNms`."""
        keep: Tensor = batched_nms(boxes, scores, groups + self.first, iou_threshold)
        return keep


def _survivors(boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float) -> Tensor:
    """Indices, ascending, of what each group by itself leaves."""
    survives = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    for group in torch.unique(groups):
        members = (groups == group).nonzero()[:, 0]
        survives[members[nms(boxes[members], scores[members], iou_threshold)]] = True
    return survives.nonzero()[:, 0]
