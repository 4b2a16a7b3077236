"""Assignment by overlap (Girshick et al., 2014; Ren et al., 2015), as mmdetection does it.

Legend: N candidates (anchors or proposals), G ground-truth boxes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.models.boxes import pairwise_iou

NEGATIVE = -1
"""A candidate that is background."""

IGNORED = -2
"""A candidate that is neither object nor background, and is not trained on."""


class MaxIoUAssigner:
    """Each candidate goes to the ground-truth box it overlaps most, if it overlaps it enough.

    Args:
        positive_iou: overlap from which a candidate is an object, this value included.
        negative_iou: overlap below which it is background; in between it is ignored.
        low_quality_iou: a ground-truth box whose best overlap reaches this much also takes every
            candidate that overlaps it exactly that best, even away from another box; where two boxes
            claim one candidate, the later has it. None: boxes do not claim candidates.
    """

    def __init__(self, positive_iou: float, negative_iou: float, low_quality_iou: float | None = None) -> None:
        if negative_iou > positive_iou:
            raise ValueError(f"negative_iou: {negative_iou} is above positive_iou, {positive_iou}")
        self.positive_iou = positive_iou
        self.negative_iou = negative_iou
        self.low_quality_iou = low_quality_iou

    @torch.no_grad()
    def __call__(self, candidates: Tensor, boxes: Tensor) -> Tensor:
        """Match candidates (N, 4) with ground-truth boxes (G, 4).

        Returns:
            int64 (N,): the index of the matched box, NEGATIVE or IGNORED. Without ground truth
            everything is negative.
        """
        if not len(candidates) or not len(boxes):
            return torch.full((len(candidates),), NEGATIVE, dtype=torch.int64, device=candidates.device)
        overlaps = pairwise_iou(candidates, boxes)  # (N, G)
        best, matches = overlaps.max(dim=1)  # among equals the first box
        matches[best < self.positive_iou] = IGNORED
        matches[best < self.negative_iou] = NEGATIVE
        if self.low_quality_iou is not None:
            claimed = _last_claim(overlaps, self.low_quality_iou)
            matches = torch.where(claimed >= 0, claimed, matches)
        return matches


def _last_claim(overlaps: Tensor, minimum: float) -> Tensor:
    """For each candidate of overlaps (N, G) the last box whose best overlap it reaches, or -1."""
    best = overlaps.amax(dim=0)  # (G,)
    claims = (overlaps == best) & (best >= minimum)  # (N, G)
    indices = torch.arange(overlaps.shape[1], device=overlaps.device)
    return torch.where(claims, indices, -1).amax(dim=1)
