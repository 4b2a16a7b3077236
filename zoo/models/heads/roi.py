"""The second stage: proposals to classified, refined boxes (Girshick, "Fast R-CNN", 2015), masks and keypoints (He et
al., 2017).

Legend: R regions of the whole batch, P of one image, D detections of one image, K object classes, B boxes of a region,
which are K, with background K + 1, or 1, V votes on its class, S side of a mask or a heat map, J keypoints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from zoo.data.detections import Detections
from zoo.models.backbones.resnet import NextStage
from zoo.models.heads.keypoint_head import ConvKeypointHead
from zoo.models.heads.mask_head import ConvMaskHead
from zoo.models.heads.roi_stage import RoiStage, as_rois
from zoo.models.heads.roi_targets import RoiTargets, pad_targets
from zoo.models.keypoints import heatmap_targets
from zoo.models.layers.roi_pooler import RoiPooler
from zoo.models.losses.classification import sigmoid_cross_entropy
from zoo.models.mask_grids import MaskGrid, SampledMaskGrid
from zoo.models.selection import DetectionSelector
from zoo.types import FeatureSpec, ImageGeometry, Target


class RoiOutputs(NamedTuple):
    """What a RoI head says of the proposals of a batch.

    Attributes:
        regions: (P, 4) an image, in input pixels: what the last stage looked at.
        logits: (V, R, K + 1), background last: of every stage's box head.
        deltas: (R, B * 4), of the last stage.
    """

    regions: list[Tensor]
    logits: Tensor
    deltas: Tensor


class RoiHead(nn.Module):
    """Classify each proposal and refine its box, in stages; outline what is found, and find its keypoints.

    In a cascade (Cai and Vasconcelos, 2018) the boxes of a stage, not clipped, are the regions of the next, and the
    box heads of all stages classify what the last of them pools.

    Args:
        in_specs: of the feature maps, fine to coarse.
        num_classes: object classes.
        stages: by name, in order, each made of in_specs, num_classes and next_stage.
        detections: which (region, class) pairs are kept.
        mask_pooler: makes one of in_specs.
        mask_head: makes one of in_channels and num_classes; None where there are no masks.
        mask_grid: how its masks lie on their boxes.
        keypoint_pooler: makes one of in_specs.
        keypoint_head: makes one of in_channels; None where there are no keypoints.
        next_stage: makes the stage that the backbone leaves to the head; None where a backbone has none.
        pad_targets: in training all images of a batch have as many ground-truth boxes, some of them zeros; see
            `zoo.models.heads.roi_targets.pad_targets`.
    """

    def __init__(
        self,
        in_specs: Sequence[FeatureSpec],
        num_classes: int,
        stages: Mapping[str, Callable[..., RoiStage]],
        detections: DetectionSelector,
        mask_pooler: Callable[..., RoiPooler] | None = None,
        mask_head: Callable[..., ConvMaskHead] | None = None,
        mask_grid: MaskGrid | None = None,
        keypoint_pooler: Callable[..., RoiPooler] | None = None,
        keypoint_head: Callable[..., ConvKeypointHead] | None = None,
        next_stage: Callable[[], NextStage] | None = None,
        pad_targets: bool = False,
    ) -> None:
        super().__init__()
        if not stages:
            raise ValueError("stages: none is named")
        for kind, head, pooler in (("mask", mask_head, mask_pooler), ("keypoint", keypoint_head, keypoint_pooler)):
            if head is not None and (pooler is None or detections.nms_frame != "input"):
                raise ValueError(
                    f"a {kind} head needs a {kind}_pooler, and detections suppressed in the input's pixels (nms_frame)"
                )
        self.stages = nn.ModuleList(
            stage(in_specs=in_specs, num_classes=num_classes, next_stage=next_stage) for stage in stages.values()
        )
        per_class = [name for name, stage in zip(stages, self._stages[:-1], strict=False) if stage.num_boxes > 1]
        if per_class:
            raise ValueError(f"stages: {', '.join(per_class)} must be class_agnostic to hand boxes to the next")
        self.num_classes = num_classes
        self.detections = detections
        self.pad_targets = pad_targets
        self.mask_pooler = mask_pooler(in_specs=in_specs) if mask_pooler else None
        self.mask_head = mask_head(in_channels=in_specs[0].channels, num_classes=num_classes) if mask_head else None
        self.mask_grid = mask_grid or SampledMaskGrid()
        self.keypoint_pooler = keypoint_pooler(in_specs=in_specs) if keypoint_pooler else None
        self.keypoint_head = keypoint_head(in_channels=in_specs[0].channels) if keypoint_head else None

    @property
    def last_stage(self) -> RoiStage:
        """The stage whose boxes are detections."""
        return self._stages[-1]

    @property
    def _stages(self) -> list[RoiStage]:
        return [stage for stage in self.stages if isinstance(stage, RoiStage)]  # all are: a ModuleList has no type

    def forward(self, features: Sequence[Tensor], proposals: Sequence[Tensor]) -> RoiOutputs:
        """Class logits and deltas of all images' proposals, one after another.

        Args:
            features: (N, C, H, W) a level.
            proposals: (P, 4) an image, in input pixels.
        """
        *earlier, last = self._stages
        regions = list(proposals)
        for stage in earlier:
            _, deltas = stage(features, regions)
            boxes = stage.decode(torch.cat(regions), deltas)[:, 0]  # (R, 1, 4) -> (R, 4)
            regions = list(torch.split(boxes, [len(image) for image in regions]))
        pooled = last.pool(features, regions)
        votes = [stage.box_head(pooled)[0] for stage in earlier]
        logits, deltas = last.box_head(pooled)
        return RoiOutputs(regions, torch.stack((*votes, logits)) if votes else logits[None], deltas)

    @torch.no_grad()
    def detect(self, logits: Tensor, deltas: Tensor, regions: Tensor, geometry: ImageGeometry) -> Detections:
        """Detections of one image, boxes only, in the pixels they are suppressed in.

        Args:
            logits: (V, P, K + 1).
            deltas: (P, B * 4), of the last stage.
            regions: (P, 4), of the last stage, in input pixels.
            geometry: of the image.
        """
        votes = logits.float().softmax(dim=-1)  # (V, P, K + 1)
        scores = votes[0] if len(votes) == 1 else votes.mean(dim=0)
        region, label, score = self.detections.candidates(scores[:, :-1])  # (M,) each
        references = self.detections.references(regions[region], geometry)
        boxes = self.last_stage.coder.decode(references, self.last_stage.own_deltas(deltas, region, label))
        return self.detections.select(self.detections.clip(boxes, geometry), score, label, geometry)

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

    @torch.no_grad()
    def heatmaps(self, features: Sequence[Tensor], detections: Sequence[Detections]) -> list[Tensor]:
        """Logits (D, J, S, S) an image: of the keypoints of each detection, on its box; see `segment`."""
        logits = self._keypoint_logits(features, [image.boxes for image in detections])
        return list(torch.split(logits, [len(image) for image in detections]))

    def losses(
        self,
        features: Sequence[Tensor],
        proposals: Sequence[Tensor],
        targets: Sequence[Target],
        geometries: Sequence[ImageGeometry],
    ) -> dict[str, Tensor]:
        """Scalars `loss_cls` and `loss_bbox`, with a mask head `loss_mask`, the mean over the positives' pixels, and
        with a keypoint head `loss_keypoint`, the mean over their keypoints.

        In a cascade the first two are `loss_cls_1`, `loss_bbox_1` and so on, of each stage. A stage is trained on what
        the one before makes of its own regions; see `RoiStage.refine`. No gradient goes through these boxes.

        Args:
            features: (N, C, H, W) a level.
            proposals: (P, 4) an image, in input pixels.
            targets: one an image.
            geometries: one an image.
        """
        if self.pad_targets:
            targets = pad_targets(targets, self.num_classes)
        losses: dict[str, Tensor] = {}
        regions, stages = list(proposals), self._stages
        for number, stage in enumerate(stages, start=1):
            sampled = stage.assign(regions, targets, geometries, self.pad_targets)
            logits, deltas = stage(features, [image.regions for image in sampled])
            suffix = f"_{number}" if len(stages) > 1 else ""
            losses |= {f"{name}{suffix}": loss for name, loss in stage.losses(logits, deltas, sampled).items()}
            if stage is not stages[-1]:
                regions = stage.refine(deltas, sampled)
        if self.mask_head is not None:
            losses["loss_mask"] = self._mask_loss(features, sampled, targets)
        if self.keypoint_head is not None:
            losses["loss_keypoint"] = self._keypoint_loss(features, sampled, targets)
        return losses

    def _mask_loss(
        self, features: Sequence[Tensor], sampled: Sequence[RoiTargets], targets: Sequence[Target]
    ) -> Tensor:
        """The mean over all mask pixels of all positives; 0 where the batch has none."""
        regions = [image.positives for image in sampled]
        labels = torch.cat([image.labels[: len(image.boxes)] for image in sampled])
        logits = self._mask_logits(features, regions, labels)  # (O, S, S)
        truth = [
            self.mask_grid.targets(target, boxes, image.matched_gt_inds, logits.shape[-1])
            for target, boxes, image in zip(targets, regions, sampled, strict=True)
        ]
        return sigmoid_cross_entropy(logits, torch.cat(truth)) / max(logits.numel(), 1)

    def _keypoint_loss(
        self, features: Sequence[Tensor], sampled: Sequence[RoiTargets], targets: Sequence[Target]
    ) -> Tensor:
        """Cross entropy over the cells of each heat map, the mean over what is trained on; 0 where nothing is."""
        regions = [image.positives for image in sampled]
        logits = self._keypoint_logits(features, regions)  # (O, J, S, S)
        cells, trained = [], []
        for target, boxes, image in zip(targets, regions, sampled, strict=True):
            if target.keypoints is None:
                raise ValueError("a keypoint head is trained on targets with keypoints, these have none")
            cell, valid = heatmap_targets(target.keypoints[image.matched_gt_inds], boxes, logits.shape[-1])
            cells.append(cell)
            trained.append(valid)
        valid = torch.cat(trained)  # (O, J)
        loss = F.cross_entropy(logits.flatten(2)[valid], torch.cat(cells)[valid], reduction="sum")
        return loss / max(int(valid.sum()), 1)

    def _mask_logits(self, features: Sequence[Tensor], boxes: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Logits (R, S, S) on boxes (P, 4) of each image, each for its own label (R,)."""
        if self.mask_head is None or self.mask_pooler is None:
            raise ValueError("this RoI head has no mask head")
        logits: Tensor = self.mask_head(self.mask_pooler(features, as_rois(boxes)))  # (R, K, S, S)
        return logits[torch.arange(len(labels), device=labels.device), labels].float()

    def _keypoint_logits(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """Logits (R, J, S, S) on boxes (P, 4) of each image."""
        if self.keypoint_head is None or self.keypoint_pooler is None:
            raise ValueError("this RoI head has no keypoint head")
        logits: Tensor = self.keypoint_head(self.keypoint_pooler(features, as_rois(boxes)))
        return logits.float()
