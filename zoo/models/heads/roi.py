"""The second stage: proposals to classified, refined boxes (Girshick, "Fast R-CNN", 2015).

Legend: R regions of the whole batch, P of one image, K object classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo.models import boxes as box_ops
from zoo.models.coders import DeltaCoder
from zoo.models.heads.box_head import TwoFcBoxHead
from zoo.models.layers.roi_pooler import RoiPooler
from zoo.types import Detections, FeatureSpec, Size


@dataclass(frozen=True, slots=True)
class DetectionSettings:
    """Which (region, class) pairs become detections.

    Attributes:
        score_threshold: pairs must score above it, strictly.
        iou_threshold: overlap above which the lower score falls, within a class.
        per_image: detections kept, best scores first.
    """

    score_threshold: float = 0.05
    iou_threshold: float = 0.5
    per_image: int = 100


class RoiHead(nn.Module):
    """Pool each proposal from its pyramid level, classify it, refine its box.

    Args:
        in_specs: of the feature maps, fine to coarse; the coarsest (p6) serves proposals only.
        num_classes: object classes.
        detections: which pairs are kept.
        pooled_size: height and width of the pooled features.
        delta_stds: of the class-wise box deltas.
    """

    def __init__(
        self,
        in_specs: Sequence[FeatureSpec],
        num_classes: int,
        detections: DetectionSettings,
        pooled_size: int = 7,
        delta_stds: Sequence[float] = (0.1, 0.1, 0.2, 0.2),
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.detections = detections
        self.pooler = RoiPooler(in_specs[:4], pooled_size)
        self.box_head = TwoFcBoxHead(in_specs[0].channels, pooled_size, num_classes)
        self.coder = DeltaCoder(delta_stds)

    def forward(self, features: Sequence[Tensor], proposals: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Class logits (R, K + 1) and deltas (R, K * 4) of all images' proposals, one after another.

        Args:
            features: (N, C, H, W) a level.
            proposals: (P, 4) an image, in input pixels.
        """
        logits, deltas = self.box_head(self.pooler(features, as_rois(proposals)))
        return logits, deltas

    @torch.no_grad()
    def detect(
        self, logits: Tensor, deltas: Tensor, proposals: Tensor, size: Size, scale: tuple[float, float]
    ) -> Detections:
        """Detections of one image, in pixels of the original.

        Args:
            logits: (P, K + 1).
            deltas: (P, K * 4).
            proposals: (P, 4), in input pixels.
            size: of the input without padding; boxes are clipped to it.
            scale: (x, y) factors from original to input pixels.
        """
        scores = logits.float().softmax(dim=1)[:, :-1]  # (P, K)
        references = proposals[:, None].expand(-1, self.num_classes, -1)
        decoded = self.coder.decode(references, deltas.float().view(-1, self.num_classes, 4))  # (P, K, 4)
        decoded = box_ops.clip(decoded, size) * (1 / decoded.new_tensor(scale)).repeat(2)
        region, label = (scores > self.detections.score_threshold).nonzero(as_tuple=True)
        boxes, scores = decoded[region, label], scores[region, label]  # (M, 4), (M,)
        keep = box_ops.grouped_nms(boxes, scores, label, self.detections.iou_threshold)[: self.detections.per_image]
        return Detections(boxes=boxes[keep], scores=scores[keep], labels=label[keep])


def as_rois(proposals: Sequence[Tensor]) -> Tensor:
    """(R, 5): the image index before each box (P, 4) of each image."""
    return torch.cat([torch.cat((box.new_full((len(box), 1), i), box), dim=1) for i, box in enumerate(proposals)])
