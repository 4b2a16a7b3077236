"""Assignment by overlap (Girshick et al., 2014; Ren et al., 2015), as mmdetection does it.

Legend: N candidates (anchors or proposals), G ground-truth boxes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.models.boxes import EXCLUSIVE, BoxConvention

NEGATIVE = -1
"""A candidate that is background."""

IGNORED = -2
"""A candidate that is neither object nor background, and is not trained on."""


class MaxIoUAssigner:
    """Each candidate goes to the ground-truth box it overlaps most, if it overlaps it enough.

    Args:
        positive_iou: overlap from which a candidate is an object, this value included.
        negative_iou: overlap below which it is background; in between it is ignored.
        min_pos_iou: a ground-truth box whose best overlap reaches this much also takes every candidate that
            overlaps it exactly that best, even away from another box; where two boxes take one candidate, the
            later has it. None: there are no such low-quality matches.
        convention: of candidates and boxes.
    """

    def __init__(
        self,
        positive_iou: float,
        negative_iou: float,
        min_pos_iou: float | None = None,
        convention: BoxConvention = EXCLUSIVE,
    ) -> None:
        if negative_iou > positive_iou:
            raise ValueError(f"negative_iou: {negative_iou} is above positive_iou, {positive_iou}")
        self.positive_iou = positive_iou
        self.negative_iou = negative_iou
        self.min_pos_iou = min_pos_iou
        self.convention = convention

    @torch.no_grad()
    def __call__(self, candidates: Tensor, boxes: Tensor) -> Tensor:
        """Match candidates (N, 4) with ground-truth boxes (G, 4).

        Returns:
            int64 (N,): the index of the matched box, NEGATIVE or IGNORED. Without ground truth
            everything is negative.
        """
        if not len(candidates) or not len(boxes):
            return torch.full((len(candidates),), NEGATIVE, dtype=torch.int64, device=candidates.device)
        overlaps = self.convention.iou(candidates, boxes)  # (N, G)
        best, matches = overlaps.max(dim=1)  # among equals the first box
        matches[best < self.positive_iou] = IGNORED
        matches[best < self.negative_iou] = NEGATIVE
        if self.min_pos_iou is not None:
            low_quality = _low_quality_matches(overlaps, self.min_pos_iou)
            matches = torch.where(low_quality >= 0, low_quality, matches)
        return matches


def _low_quality_matches(overlaps: Tensor, minimum: float) -> Tensor:
    """For each candidate of overlaps (N, G) the last box whose best overlap it reaches, or -1."""
    best = overlaps.amax(dim=0)  # (G,)
    matched = (overlaps == best) & (best >= minimum)  # (N, G)
    indices = torch.arange(overlaps.shape[1], device=overlaps.device)
    return torch.where(matched, indices, -1).amax(dim=1)
