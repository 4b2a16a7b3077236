"""The second stage: proposals to classified, refined boxes (Girshick, "Fast R-CNN", 2015) and masks (He et al., 2017).

Legend: R regions of the whole batch, P of one image, G ground-truth boxes of one image, K object classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo.models import boxes as box_ops
from zoo.models import masks as mask_ops
from zoo.models.assigners.max_iou import MaxIoUAssigner
from zoo.models.coders import DeltaCoder
from zoo.models.heads.box_head import StageBoxHead, TwoFcBoxHead
from zoo.models.heads.mask_head import ConvMaskHead
from zoo.models.layers.roi_pooler import RoiPooler
from zoo.models.losses.classification import sigmoid_cross_entropy, softmax_cross_entropy
from zoo.models.losses.regression import BoxLoss
from zoo.models.samplers import Sampler
from zoo.types import Detections, FeatureSpec, ImageGeometry, Target


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


@dataclass(frozen=True, slots=True)
class RegionTargets:
    """The regions of one image that are trained on, objects first, and what each is to become.

    Attributes:
        regions: (P, 4), in input pixels.
        labels: int64 (P,), the class of each; K is background.
        owners: int64 (O,), the ground-truth objects of the first O regions.
        boxes: (O, 4), their boxes.
    """

    regions: Tensor
    labels: Tensor
    owners: Tensor
    boxes: Tensor


class RoiHead(nn.Module):
    """Pool each proposal from its pyramid level, classify it, refine its box; with a mask head, outline what it found.

    Args:
        in_specs: of the feature maps, fine to coarse; from the fifth on (p6) they serve proposals only.
        num_classes: object classes.
        detections: which pairs are kept.
        assigner: matches proposals with ground-truth boxes.
        sampler: chooses the proposals that are trained on.
        box_loss: of the refinement, on encoded deltas or on decoded boxes.
        box_head: makes one of in_channels, pooled_size and num_classes.
        mask_head: makes one of in_channels and num_classes; None for boxes only.
        pooled_size: height and width of the features pooled for the box head.
        mask_pooled_size: likewise for the mask head.
        delta_stds: of the class-wise box deltas.
    """

    def __init__(
        self,
        in_specs: Sequence[FeatureSpec],
        num_classes: int,
        detections: DetectionSettings,
        assigner: MaxIoUAssigner,
        sampler: Sampler,
        box_loss: BoxLoss,
        box_head: Callable[..., TwoFcBoxHead | StageBoxHead] = TwoFcBoxHead,
        mask_head: Callable[..., ConvMaskHead] | None = None,
        pooled_size: int = 7,
        mask_pooled_size: int = 14,
        delta_stds: Sequence[float] = (0.1, 0.1, 0.2, 0.2),
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.detections = detections
        self.assigner = assigner
        self.sampler = sampler
        self.box_loss = box_loss
        channels = in_specs[0].channels
        self.pooler = RoiPooler(in_specs[:4], pooled_size)
        self.box_head = box_head(in_channels=channels, pooled_size=pooled_size, num_classes=num_classes)
        self.mask_pooler = RoiPooler(in_specs[:4], mask_pooled_size)
        self.mask_head = mask_head(in_channels=channels, num_classes=num_classes) if mask_head else None
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
        self, logits: Tensor, deltas: Tensor, proposals: Tensor, geometry: ImageGeometry, scale: tuple[float, float]
    ) -> Detections:
        """Detections of one image, boxes only.

        Args:
            logits: (P, K + 1).
            deltas: (P, K * 4).
            proposals: (P, 4), in input pixels.
            geometry: of the image; boxes are clipped to its extent.
            scale: (x, y) factors from original to input pixels. Boxes are suppressed after they are brought
                back to original pixels; with factors of 1 they stay in input pixels.
        """
        scores = logits.float().softmax(dim=1)[:, :-1]  # (P, K)
        references = proposals[:, None].expand(-1, self.num_classes, -1)
        decoded = self.coder.decode(references, deltas.float().view(-1, self.num_classes, 4))  # (P, K, 4)
        decoded = box_ops.clip(decoded, geometry.extent) * (1 / decoded.new_tensor(scale)).repeat(2)
        region, label = (scores > self.detections.score_threshold).nonzero(as_tuple=True)
        boxes, scores = decoded[region, label], scores[region, label]  # (M, 4), (M,)
        keep = box_ops.grouped_nms(boxes, scores, label, self.detections.iou_threshold)[: self.detections.per_image]
        return Detections(boxes=boxes[keep], scores=scores[keep], labels=label[keep])

    @torch.no_grad()
    def segment(self, features: Sequence[Tensor], found: Sequence[Detections]) -> list[Tensor]:
        """Masks (D, S, S) an image, in [0, 1]: of each detection, for its class, on its box.

        Args:
            features: (N, C, H, W) a level.
            found: detections of each image, in input pixels.
        """
        labels = torch.cat([image.labels for image in found])
        logits = self._mask_logits(features, [image.boxes for image in found], labels)
        return list(torch.split(logits.sigmoid(), [len(image) for image in found]))

    def losses(
        self, features: Sequence[Tensor], proposals: Sequence[Tensor], targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """Scalars `loss_cls` (softmax cross entropy), `loss_bbox` (of objects, in their own class's columns).

        Both are summed over the sampled regions of the batch and divided by their number, background
        included. With a mask head also `loss_mask`, the mean cross entropy of the objects' mask pixels.

        Args:
            features: (N, C, H, W) a level.
            proposals: (P, 4) an image, in input pixels.
            targets: one an image.
        """
        chosen = [self.assign(boxes, target) for boxes, target in zip(proposals, targets, strict=True)]
        logits, deltas = self(features, [image.regions for image in chosen])
        labels = torch.cat([image.labels for image in chosen])  # (R,)
        regions = torch.cat([image.regions for image in chosen])  # (R, 4)
        boxes = torch.cat([image.boxes for image in chosen])  # (O, 4)
        objects = (labels < self.num_classes).nonzero()[:, 0]  # (O,), in the order of `boxes`
        own = deltas.float().view(-1, self.num_classes, 4)[objects, labels[objects]]  # (R, K, 4) -> (O, 4)
        regression = self.box_loss.of_refinement(self.coder, regions[objects], own, boxes)
        divisor = max(len(labels), 1) + torch.finfo(torch.float32).eps
        losses = {"loss_cls": softmax_cross_entropy(logits, labels) / divisor, "loss_bbox": regression / divisor}
        if self.mask_head is not None:
            losses["loss_mask"] = self._mask_loss(features, chosen, targets)
        return losses

    def _mask_loss(
        self, features: Sequence[Tensor], chosen: Sequence[RegionTargets], targets: Sequence[Target]
    ) -> Tensor:
        """The mean over all mask pixels of all objects; 0 where the batch has none."""
        regions, labels = [], []
        for image in chosen:
            regions.append(image.regions[: len(image.owners)])
            labels.append(image.labels[: len(image.owners)])
        logits = self._mask_logits(features, regions, torch.cat(labels))  # (O, S, S)
        wanted = [
            mask_ops.crop(_masks(target), boxes, image.owners, logits.shape[-1])
            for target, boxes, image in zip(targets, regions, chosen, strict=True)
        ]
        return sigmoid_cross_entropy(logits, torch.cat(wanted)) / max(logits.numel(), 1)

    def _mask_logits(self, features: Sequence[Tensor], boxes: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Logits (R, S, S) on boxes (P, 4) of each image, each for its own label (R,)."""
        if self.mask_head is None:
            raise ValueError("this RoI head has no mask head")
        logits: Tensor = self.mask_head(self.mask_pooler(features, as_rois(boxes)))  # (R, K, S, S)
        return logits[torch.arange(len(labels), device=labels.device), labels].float()

    @torch.no_grad()
    def assign(self, proposals: Tensor, target: Target) -> RegionTargets:
        """The regions of one image that are trained on.

        The ground-truth boxes are put in front of the proposals, so that even a first stage that finds
        nothing gives the second something to learn from.

        Args:
            proposals: (P, 4), in input pixels.
            target: boxes (G, 4).
        """
        themselves = torch.arange(len(target.boxes), device=proposals.device)
        matches = torch.cat((themselves, self.assigner(proposals, target.boxes)))  # (G + P,)
        candidates = torch.cat((target.boxes, proposals))  # (G + P, 4)
        sampled = self.sampler(matches)
        found = matches[sampled.positive]
        background = torch.full_like(sampled.negative, self.num_classes)
        return RegionTargets(
            regions=candidates[torch.cat((sampled.positive, sampled.negative))],
            labels=torch.cat((target.labels[found], background)),
            owners=found,
            boxes=target.boxes[found],
        )


def as_rois(proposals: Sequence[Tensor]) -> Tensor:
    """(R, 5): the image index before each box (P, 4) of each image."""
    return torch.cat([torch.cat((box.new_full((len(box), 1), i), box), dim=1) for i, box in enumerate(proposals)])


def _masks(target: Target) -> Tensor:
    if target.masks is None:
        raise ValueError("a mask head is trained on targets with masks, these have boxes only")
    return target.masks
