"""Which of too many negatives are trained on (Liu et al., "SSD: Single Shot MultiBox Detector", 2016)."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def hard_negatives(losses: Tensor, positive: Tensor, ratio: int) -> Tensor:
    """The negatives of each image that are classified worst, so many for each of its positives.

    Where an image has too few negatives for that, positives make up for them, and so count twice, as in torchvision.

    Args:
        losses: (N, M), of each candidate's classification.
        positive: bool (N, M).
        ratio: negatives a positive.

    Returns:
        bool (N, M).
    """
    hardness = losses.masked_fill(positive, -torch.inf)
    mined = torch.zeros_like(positive)
    for image, count in enumerate((ratio * positive.sum(dim=1)).tolist()):
        mined[image, hardness[image].topk(min(count, hardness.shape[1])).indices] = True
    return mined
