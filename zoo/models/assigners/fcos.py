"""FCOS's assignment (Tian et al., "FCOS: A simple and strong anchor-free object detector", 2020).

Legend: N candidates, one a cell of a pyramid, squares about its point of their level's size; G ground-truth boxes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.models.assigners.max_iou import NEGATIVE, Matches

LARGEST_AREA = 1e8
"""Square pixels. What is missing to it in float32 is compared, so that boxes of about 8 square pixels' difference are
equal, as they are to torchvision."""


class FcosAssigner:
    """A point goes to the smallest box that it lies inside of, whose centre is near, and whose size its level is for.

    How large a box looks from a point is the distance to its farthest side. The finest level, the one of the smallest
    candidates, is also for what looks smaller than its range, and the coarsest for what looks larger.

    Args:
        radius: how far from the centre a point may be along x and along y, in units of the candidate's side.
        smallest: least distance to the farthest side, in units of the candidate's side, this value excluded.
        largest: greatest distance to the farthest side, likewise.
    """

    def __init__(self, radius: float = 1.5, smallest: float = 4.0, largest: float = 8.0) -> None:
        self.radius = radius
        self.smallest = smallest
        self.largest = largest

    @torch.no_grad()
    def __call__(self, candidates: Tensor, boxes: Tensor) -> Matches:
        """Match candidates (N, 4) with ground-truth boxes (G, 4); points overlap nothing."""
        overlaps = candidates.new_zeros(len(candidates))
        if not len(boxes):
            gt_inds = torch.full_like(overlaps, NEGATIVE, dtype=torch.int64)
            return Matches(gt_inds, overlaps, gt_inds == NEGATIVE)
        points = (candidates[:, :2] + candidates[:, 2:]) / 2  # (N, 2)
        sides = candidates[:, 2] - candidates[:, 0]  # (N,)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2  # (G, 2)
        near = (points[:, None] - centres).abs().amax(dim=2) < self.radius * sides[:, None]  # (N, G)
        distances = torch.cat((points[:, None] - boxes[:, :2], boxes[:, 2:] - points[:, None]), dim=2)  # (N, G, 4)
        farthest = distances.amax(dim=2)
        lower = torch.where(sides == sides.min(), 0, self.smallest * sides)[:, None]
        upper = torch.where(sides == sides.max(), torch.inf, self.largest * sides)[:, None]
        fits = near & (distances.amin(dim=2) > 0) & (farthest > lower) & (farthest < upper)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
        best, nearest = torch.where(fits, LARGEST_AREA - areas, 0).max(dim=1)  # among equals the first box
        background = best == 0
        return Matches(torch.where(background, NEGATIVE, nearest), overlaps, background)
