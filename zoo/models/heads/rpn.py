"""Region proposal network (Ren et al., "Faster R-CNN", 2015).

Legend: N images, L levels, A anchors a cell, P proposals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo.models import boxes as box_ops
from zoo.models.anchors import AnchorGenerator
from zoo.models.coders import DeltaCoder
from zoo.types import FeatureSpec, Size


@dataclass(frozen=True, slots=True)
class ProposalSettings:
    """How many anchors become proposals.

    Attributes:
        per_level: best-scored anchors kept of each level, before suppression.
        per_image: proposals kept of all levels together, after it.
        iou_threshold: overlap above which the lower score falls, within a level.
    """

    per_level: int = 1000
    per_image: int = 1000
    iou_threshold: float = 0.7


class RpnHead(nn.Module):
    """One small network slid over all levels: an objectness logit and four deltas an anchor.

    Args:
        in_specs: of the feature maps, fine to coarse.
        anchors: their boxes on those maps.
        proposals: how many are kept in evaluation.
        channels: of the hidden 3x3 convolution.
    """

    def __init__(
        self,
        in_specs: Sequence[FeatureSpec],
        anchors: AnchorGenerator,
        proposals: ProposalSettings,
        channels: int = 256,
    ) -> None:
        super().__init__()
        self.anchors = anchors
        self.proposals = proposals
        self.coder = DeltaCoder()
        self.conv = nn.Conv2d(in_specs[0].channels, channels, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.logits = nn.Conv2d(channels, anchors.per_cell, 1)
        self.deltas = nn.Conv2d(channels, anchors.per_cell * 4, 1)
        for conv in (self.conv, self.logits, self.deltas):
            nn.init.normal_(conv.weight, std=0.01)
            nn.init.constant_(conv.bias, 0)  # type: ignore[arg-type] # these convolutions have a bias

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Per level: objectness logits (N, A, H, W) and deltas (N, A * 4, H, W), anchor-major."""
        hidden = [self.relu(self.conv(feature)) for feature in features]
        return [self.logits(x) for x in hidden], [self.deltas(x) for x in hidden]

    @torch.no_grad()
    def propose(
        self, logits: Sequence[Tensor], deltas: Sequence[Tensor], sizes: Sequence[Size]
    ) -> list[tuple[Tensor, Tensor]]:
        """Proposals of each image.

        Args:
            logits: (N, A, H, W) a level.
            deltas: (N, A * 4, H, W) a level.
            sizes: of the images, without padding; proposals are clipped to them.

        Returns:
            For each image boxes (P, 4) in input pixels and scores (P,), best first.
        """
        grids = self.anchors.grid([(x.shape[2], x.shape[3]) for x in logits], logits[0].device)
        logits = [flatten_anchors(x, 1).squeeze(-1).float() for x in logits]  # (N, H * W * A)
        deltas = [flatten_anchors(x, 4).float() for x in deltas]  # (N, H * W * A, 4)
        return [
            self._propose_one([x[i] for x in logits], [x[i] for x in deltas], grids, size)
            for i, size in enumerate(sizes)
        ]

    def _propose_one(
        self, logits: Sequence[Tensor], deltas: Sequence[Tensor], anchors: Sequence[Tensor], size: Size
    ) -> tuple[Tensor, Tensor]:
        """Logits (H * W * A,), deltas (H * W * A, 4) and anchors likewise, a level each."""
        kept_scores, kept_boxes, levels = [], [], []
        for level, (logit, delta, anchor) in enumerate(zip(logits, deltas, anchors, strict=True)):
            scores = logit.sigmoid()
            if len(scores) > self.proposals.per_level:
                scores, best = scores.topk(self.proposals.per_level)
                delta, anchor = delta[best], anchor[best]
            kept_scores.append(scores)
            kept_boxes.append(box_ops.clip(self.coder.decode(anchor, delta), size))
            levels.append(torch.full_like(scores, level, dtype=torch.int64))
        scores, proposals, level_of = torch.cat(kept_scores), torch.cat(kept_boxes), torch.cat(levels)
        solid = box_ops.not_empty(proposals)
        scores, proposals, level_of = scores[solid], proposals[solid], level_of[solid]
        keep = box_ops.grouped_nms(proposals, scores, level_of, self.proposals.iou_threshold)
        keep = keep[: self.proposals.per_image]
        return proposals[keep], scores[keep]


def flatten_anchors(x: Tensor, values: int) -> Tensor:
    """(N, A * values, H, W) to (N, H * W * A, values), the order of the anchors."""
    n, _, height, width = x.shape
    return x.view(n, -1, values, height, width).permute(0, 3, 4, 1, 2).reshape(n, -1, values)
