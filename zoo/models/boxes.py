"""Box arithmetic: overlap, clipping, and non-maximum suppression within groups.

Boxes are float (N, 4), xyxy in pixels, without the historical "+1" on widths and heights.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms

SPLIT_FROM = 10_000
"""From this many boxes on, groups are suppressed one by one instead of in one shifted call."""


def pairwise_iou(boxes: Tensor, others: Tensor, floor: float = 1e-6) -> Tensor:
    """Intersection over union of every box with every other.

    Args:
        boxes: (N, 4).
        others: (M, 4).
        floor: smallest union divided by, so that empty boxes overlap nothing.

    Returns:
        (N, M), in [0, 1].
    """
    top_left = torch.maximum(boxes[:, None, :2], others[None, :, :2])  # (N, M, 2)
    bottom_right = torch.minimum(boxes[:, None, 2:], others[None, :, 2:])
    intersection = (bottom_right - top_left).clamp(min=0).prod(dim=2)  # (N, M)
    union = area(boxes)[:, None] + area(others)[None] - intersection
    return intersection / union.clamp(min=floor)


def area(boxes: Tensor) -> Tensor:
    """Areas (N,) of boxes (N, 4)."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def clip(boxes: Tensor, size: tuple[float, float]) -> Tensor:
    """Boxes (..., 4) cut to an image of size (height, width): x to [0, width], y to [0, height], both ends included."""
    height, width = size
    x = boxes[..., 0::2].clamp(0, width)
    y = boxes[..., 1::2].clamp(0, height)
    return torch.stack((x[..., 0], y[..., 0], x[..., 1], y[..., 1]), dim=-1)


def grouped_nms(boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float) -> Tensor:
    """Greedy suppression among the boxes of each group (a class, or a pyramid level).

    Facts of mmcv's `batched_nms`, which published numbers depend on to the last decimal: groups are
    kept apart by shifting each by a multiple of (largest coordinate + 1) in float32, so borderline
    overlaps are rounded; a box falls when IoU > threshold, strictly, with the threshold a float32;
    from 10,000 boxes on each group is suppressed by itself, still shifted.

    Args:
        boxes: (N, 4).
        scores: (N,).
        groups: integer (N,).
        iou_threshold: overlap above which the lower score falls.

    Returns:
        Indices of the survivors, best score first.
    """
    if boxes.numel() == 0:
        return torch.empty(0, dtype=torch.int64, device=boxes.device)
    threshold = float(np.float32(iou_threshold))
    shifted = boxes + (groups.to(boxes.dtype) * (boxes.max() + 1))[:, None]
    if len(boxes) < SPLIT_FROM:
        keep: Tensor = nms(shifted, scores, threshold)
        return keep
    survives = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    for group in torch.unique(groups):
        members = (groups == group).nonzero()[:, 0]
        survives[members[nms(shifted[members], scores[members], threshold)]] = True
    kept = survives.nonzero()[:, 0]
    return kept[scores[kept].argsort(descending=True)]


def not_empty(boxes: Tensor) -> Tensor:
    """Which of boxes (N, 4) are wider and higher than 0."""
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
