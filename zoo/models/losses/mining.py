"""Which of too many negatives are trained on (Liu et al., "SSD: Single Shot MultiBox Detector", 2016)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


@torch.no_grad()
def hard_negatives(losses: Tensor, positive: Tensor, counts: Sequence[int], ratio: int) -> Tensor:
    """The negatives of each image that are classified worst, so many for each of its positives.

    Where an image has too few negatives for that, positives make up for them, and so count twice, as in torchvision.

    Args:
        losses: (N, M), of each candidate's classification.
        positive: int64 (P,), positions of the positives among the candidates of all images.
        counts: how many positives each image has.
        ratio: negatives a positive.

    Returns:
        Their positions, int64 (Q,), likewise.
    """
    hardness = losses.flatten().index_fill(0, positive, -torch.inf).view_as(losses)
    per_image = losses.shape[1]
    mined = [hardness[i].topk(min(ratio * count, per_image)).indices + i * per_image for i, count in enumerate(counts)]
    return torch.cat(mined)
