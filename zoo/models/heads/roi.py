"""The second stage: proposals to classified, refined boxes (Girshick, "Fast R-CNN", 2015) and masks (He et al., 2017).

Legend: R regions of the whole batch, P of one image, D detections of one image, K object classes, S side of a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from zoo.data.detections import Detections
from zoo.models import masks as mask_ops
from zoo.models.backbones.resnet import NextStage
from zoo.models.heads.mask_head import ConvMaskHead
from zoo.models.heads.roi_stage import RoiStage, RoiTargets, as_rois
from zoo.models.layers.roi_pooler import RoiPooler
from zoo.models.losses.classification import sigmoid_cross_entropy
from zoo.models.selection import DetectionSelector
from zoo.types import FeatureSpec, ImageGeometry, Target


class RoiHead(nn.Module):
    """Classify each proposal and refine its box, in stages; with a mask head, outline what is found.

    Args:
        in_specs: of the feature maps, fine to coarse.
        num_classes: object classes.
        stages: by name, in order, each made of in_specs, num_classes and next_stage.
        detections: which (region, class) pairs are kept.
        mask_pooler: makes one of in_specs.
        mask_head: makes one of in_channels and num_classes; None for boxes only.
        next_stage: makes the stage that the backbone leaves to the head; None where a backbone has none.
    """

    def __init__(
        self,
        in_specs: Sequence[FeatureSpec],
        num_classes: int,
        stages: Mapping[str, Callable[..., RoiStage]],
        detections: DetectionSelector,
        mask_pooler: Callable[..., RoiPooler] | None = None,
        mask_head: Callable[..., ConvMaskHead] | None = None,
        next_stage: Callable[[], NextStage] | None = None,
    ) -> None:
        super().__init__()
        if len(stages) != 1:
            raise ValueError(f"stages: {', '.join(stages)}, where one alone is known")
        if mask_head is not None and (mask_pooler is None or detections.nms_frame != "input"):
            raise ValueError(
                "a mask head needs a mask_pooler, and detections suppressed in the input's pixels (nms_frame)"
            )
        self.stages = nn.ModuleList(
            stage(in_specs=in_specs, num_classes=num_classes, next_stage=next_stage) for stage in stages.values()
        )
        self.detections = detections
        self.mask_pooler = mask_pooler(in_specs=in_specs) if mask_pooler else None
        self.mask_head = mask_head(in_channels=in_specs[0].channels, num_classes=num_classes) if mask_head else None

    @property
    def last_stage(self) -> RoiStage:
        """The stage whose answers are detections."""
        stage = self.stages[-1]
        assert isinstance(stage, RoiStage)  # noqa: S101 - a list of modules does not know of what kind
        return stage

    def forward(self, features: Sequence[Tensor], proposals: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Class logits (R, K + 1) and deltas (R, K * 4) of all images' proposals, one after another.

        Args:
            features: (N, C, H, W) a level.
            proposals: (P, 4) an image, in input pixels.
        """
        return self.last_stage(features, proposals)  # type: ignore[no-any-return] # a module's answer

    @torch.no_grad()
    def detect(self, logits: Tensor, deltas: Tensor, proposals: Tensor, geometry: ImageGeometry) -> Detections:
        """Detections of one image, boxes only, in the pixels they are suppressed in.

        Args:
            logits: (P, K + 1).
            deltas: (P, K * 4).
            proposals: (P, 4), in input pixels.
            geometry: of the image.
        """
        scores = logits.float().softmax(dim=1)[:, :-1]  # (P, K)
        boxes = self.last_stage.decode(self.detections.references(proposals, geometry), deltas)  # (P, K, 4)
        boxes = self.detections.clip(boxes, geometry)
        region, label, scores = self.detections.candidates(scores)
        return self.detections.select(boxes[region, label], scores, label, geometry)

    @torch.no_grad()
    def segment(self, features: Sequence[Tensor], detections: Sequence[Detections]) -> list[Tensor]:
        """Masks (D, S, S) an image, in [0, 1]: of each detection, for its class, on its box.

        Args:
            features: (N, C, H, W) a level.
            detections: of each image, in input pixels.
        """
        labels = torch.cat([image.labels for image in detections])
        logits = self._mask_logits(features, [image.boxes for image in detections], labels)
        return list(torch.split(logits.sigmoid(), [len(image) for image in detections]))

    def losses(
        self, features: Sequence[Tensor], proposals: Sequence[Tensor], targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """The losses of the stages, and with a mask head `loss_mask`, the mean over the positives' mask pixels.

        Args:
            features: (N, C, H, W) a level.
            proposals: (P, 4) an image, in input pixels.
            targets: one an image.
        """
        stage = self.last_stage
        sampled = [stage.assign(boxes, target) for boxes, target in zip(proposals, targets, strict=True)]
        logits, deltas = self(features, [image.regions for image in sampled])
        losses = stage.losses(logits, deltas, sampled)
        if self.mask_head is not None:
            losses["loss_mask"] = self._mask_loss(features, sampled, targets)
        return losses

    def _mask_loss(
        self, features: Sequence[Tensor], sampled: Sequence[RoiTargets], targets: Sequence[Target]
    ) -> Tensor:
        """The mean over all mask pixels of all positives; 0 where the batch has none."""
        regions, labels = [], []
        for image in sampled:
            regions.append(image.regions[: len(image.boxes)])
            labels.append(image.labels[: len(image.boxes)])
        logits = self._mask_logits(features, regions, torch.cat(labels))  # (O, S, S)
        truth = [
            mask_ops.crop(_masks(target), boxes, image.matched_gt_inds, logits.shape[-1])
            for target, boxes, image in zip(targets, regions, sampled, strict=True)
        ]
        return sigmoid_cross_entropy(logits, torch.cat(truth)) / max(logits.numel(), 1)

    def _mask_logits(self, features: Sequence[Tensor], boxes: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Logits (R, S, S) on boxes (P, 4) of each image, each for its own label (R,)."""
        if self.mask_head is None or self.mask_pooler is None:
            raise ValueError("this RoI head has no mask head")
        logits: Tensor = self.mask_head(self.mask_pooler(features, as_rois(boxes)))  # (R, K, S, S)
        return logits[torch.arange(len(labels), device=labels.device), labels].float()


def _masks(target: Target) -> Tensor:
    if target.masks is None:
        raise ValueError("a mask head is trained on targets with masks, these have boxes only")
    return target.masks
