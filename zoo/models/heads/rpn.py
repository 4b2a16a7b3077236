"""Region proposal network (Ren et al., "Faster R-CNN", 2015).

Legend: N images, L levels, A anchors a cell, M anchors of all levels, P proposals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo.models import boxes as box_ops
from zoo.models.anchors import AnchorGenerator
from zoo.models.assigners.max_iou import MaxIoUAssigner
from zoo.models.coders import DeltaCoder
from zoo.models.heads.anchor_targets import AnchorTargets, anchor_targets
from zoo.models.losses.classification import sigmoid_cross_entropy
from zoo.models.losses.regression import L1Loss
from zoo.models.samplers import Sampler
from zoo.types import FeatureSpec, ImageGeometry, Size, Target


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
        training_proposals: how many are kept in training.
        assigner: matches anchors with ground-truth boxes.
        sampler: chooses the anchors that are trained on.
        channels: of the hidden 3x3 convolution.
        inside_only: train only on anchors that lie wholly inside the image.
    """

    def __init__(
        self,
        in_specs: Sequence[FeatureSpec],
        anchors: AnchorGenerator,
        proposals: ProposalSettings,
        training_proposals: ProposalSettings,
        assigner: MaxIoUAssigner,
        sampler: Sampler,
        channels: int = 256,
        inside_only: bool = False,
    ) -> None:
        super().__init__()
        self.anchors = anchors
        self.proposals = proposals
        self.training_proposals = training_proposals
        self.assigner = assigner
        self.sampler = sampler
        self.inside_only = inside_only
        self.box_loss = L1Loss()
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
        self, logits: Sequence[Tensor], deltas: Sequence[Tensor], geometries: Sequence[ImageGeometry]
    ) -> list[tuple[Tensor, Tensor]]:
        """Proposals of each image.

        Args:
            logits: (N, A, H, W) a level.
            deltas: (N, A * 4, H, W) a level.
            geometries: one an image; proposals are clipped to its extent.

        Returns:
            For each image boxes (P, 4) in input pixels and scores (P,), best first.
        """
        grids = self.anchors.grid([(x.shape[2], x.shape[3]) for x in logits], logits[0].device)
        logits = [flatten_anchors(x, 1).squeeze(-1).float() for x in logits]  # (N, H * W * A)
        deltas = [flatten_anchors(x, 4).float() for x in deltas]  # (N, H * W * A, 4)
        return [
            self._propose_one([x[i] for x in logits], [x[i] for x in deltas], grids, geometry)
            for i, geometry in enumerate(geometries)
        ]

    def _propose_one(
        self, logits: Sequence[Tensor], deltas: Sequence[Tensor], anchors: Sequence[Tensor], geometry: ImageGeometry
    ) -> tuple[Tensor, Tensor]:
        """Logits (H * W * A,), deltas (H * W * A, 4) and anchors likewise, a level each."""
        settings = self.training_proposals if self.training else self.proposals
        kept_scores, kept_boxes, levels = [], [], []
        for level, (logit, delta, anchor) in enumerate(zip(logits, deltas, anchors, strict=True)):
            scores = logit.sigmoid()
            if len(scores) > settings.per_level:
                scores, best = scores.topk(settings.per_level)
                delta, anchor = delta[best], anchor[best]
            kept_scores.append(scores)
            kept_boxes.append(box_ops.clip(self.coder.decode(anchor, delta), geometry.extent))
            levels.append(torch.full_like(scores, level, dtype=torch.int64))
        scores, proposals, level_of = torch.cat(kept_scores), torch.cat(kept_boxes), torch.cat(levels)
        solid = box_ops.not_empty(proposals)
        scores, proposals, level_of = scores[solid], proposals[solid], level_of[solid]
        keep = box_ops.grouped_nms(proposals, scores, level_of, settings.iou_threshold)
        keep = keep[: settings.per_image]
        return proposals[keep], scores[keep]

    def losses(
        self,
        logits: Sequence[Tensor],
        deltas: Sequence[Tensor],
        targets: Sequence[Target],
        geometries: Sequence[ImageGeometry],
        padded_sizes: Sequence[Size],
    ) -> dict[str, Tensor]:
        """Scalars `loss_rpn_cls` (cross entropy of the objectness) and `loss_rpn_bbox` (L1 of objects' deltas).

        Both are summed over everything sampled in the batch and divided by its number.

        Args:
            logits: (N, A, H, W) a level.
            deltas: (N, A * 4, H, W) a level.
            targets: one an image.
            geometries: one an image.
            padded_sizes: of the images, each padded as if it were alone. Cells beyond it, which only
                a larger neighbour in the batch gives an image, are not trained on.
        """
        classification, regression = self.level_losses(logits, deltas, targets, geometries, padded_sizes)
        return {"loss_rpn_cls": classification.sum(), "loss_rpn_bbox": regression.sum()}

    def level_losses(
        self,
        logits: Sequence[Tensor],
        deltas: Sequence[Tensor],
        targets: Sequence[Target],
        geometries: Sequence[ImageGeometry],
        padded_sizes: Sequence[Size],
    ) -> tuple[Tensor, Tensor]:
        """The share of each level, (L,) and (L,), in the two losses; arguments as for `losses`."""
        cells = [(x.shape[2], x.shape[3]) for x in logits]
        grids = self.anchors.grid(cells, logits[0].device)
        wanted = self.assign(cells, targets, geometries, padded_sizes, logits[0].device)
        classification, regression = [], []
        for logit, delta, anchors, level in zip(
            logits, deltas, grids, wanted.levels([len(grid) for grid in grids]), strict=True
        ):
            used, objects = level.used, level.objects  # (N, H * W * A)
            classification.append(sigmoid_cross_entropy(flatten_anchors(logit, 1).squeeze(-1)[used], objects[used]))
            encoded = self.coder.encode(anchors.expand_as(level.boxes)[objects], level.boxes[objects])
            regression.append(self.box_loss(flatten_anchors(delta, 4)[objects], encoded))
        # Objects and background each count as at least 1 an image, as mmdetection has it.
        number = wanted.count(wanted.objects) + wanted.count(wanted.used & ~wanted.objects)
        divisor = number + torch.finfo(torch.float32).eps
        return torch.stack(classification) / divisor, torch.stack(regression) / divisor

    def assign(
        self,
        cells: Sequence[Size],
        targets: Sequence[Target],
        geometries: Sequence[ImageGeometry],
        padded_sizes: Sequence[Size],
        device: torch.device,
    ) -> AnchorTargets:
        """What a batch is trained to say; any class is an object here.

        Args:
            cells: (H, W) a level.
            targets: one an image.
            geometries: one an image.
            padded_sizes: of the images, each padded as if it were alone.
            device: of the answer.
        """
        anchors = torch.cat(self.anchors.grid(cells, device))  # (M, 4)
        eligible = [self.anchors.inside(cells, size, device) for size in padded_sizes]
        if self.inside_only:
            eligible = [
                inside[_within(anchors[inside], geometry.extent)]
                for inside, geometry in zip(eligible, geometries, strict=True)
            ]
        return anchor_targets(anchors, eligible, targets, self.assigner, self.sampler)


def _within(boxes: Tensor, extent: tuple[float, float]) -> Tensor:
    """Which of boxes (N, 4) lie wholly inside an image, whose far edges are outside."""
    height, width = extent
    return (boxes[:, :2] >= 0).all(dim=1) & (boxes[:, 2] < width) & (boxes[:, 3] < height)


def flatten_anchors(x: Tensor, values: int) -> Tensor:
    """(N, A * values, H, W) to (N, H * W * A, values), the order of the anchors."""
    n, _, height, width = x.shape
    return x.view(n, -1, values, height, width).permute(0, 3, 4, 1, 2).reshape(n, -1, values)
