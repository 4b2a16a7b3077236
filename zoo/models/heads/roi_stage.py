"""One stage of a RoI head: regions to class logits and box deltas (Girshick, "Fast R-CNN", 2015).

Legend: R regions of the whole batch, P of one image, O positives of the batch, G ground-truth boxes of one image,
K object classes, B boxes of a region, which are K or 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from zoo.models.assigners.max_iou import MaxIoUAssigner
from zoo.models.backbones.resnet import NextStage
from zoo.models.coders import DeltaCoder
from zoo.models.heads.box_head import AveragedBoxHead, ConvBoxHead, TwoFcBoxHead
from zoo.models.heads.roi_targets import GroundTruth, RoiTargets, roi_targets
from zoo.models.layers.roi_pooler import Pooler
from zoo.models.losses.classification import ClassLoss
from zoo.models.losses.divisors import DivisorName, find_divisor
from zoo.models.losses.regression import BoxLoss
from zoo.models.samplers import Sampler
from zoo.models.selection import Frame, large_enough
from zoo.types import FeatureSpec, ImageGeometry, Target


class RoiStage(nn.Module):
    """Pool each region from its pyramid level, classify it, refine its box.

    Args:
        in_specs: of the feature maps, fine to coarse.
        num_classes: K.
        pooler: makes one of in_specs.
        box_head: makes one of in_channels, pooled_size, num_classes and num_boxes.
        coder: of the box deltas.
        assigner: matches regions with ground-truth boxes.
        sampler: chooses the regions that are trained on.
        class_loss: of the sampled regions, background being the last of K + 1 classes.
        box_loss: of the positives, in their own class's columns, on encoded deltas or on decoded boxes.
        divisor: name of what both are divided by, or a number: so many an image.
        shared: what pooled features go through before the heads: "next_stage", that of the backbone; None: nothing.
        next_stage: makes the stage that the backbone leaves out; None where a backbone has none.
        class_agnostic: a region has one box for all classes instead of one each.
        target_frame: the pixels that regions are matched with objects and boxes are learned in; it matters where the
            convention is inclusive.
        loss_weight: factor of both losses.
        background_box: a region has a box for background too, the last, which is neither trained nor asked for.
        ground_truth: where an image's own boxes stand among the regions that are drawn from in training.
    """

    def __init__(
        self,
        in_specs: Sequence[FeatureSpec],
        num_classes: int,
        pooler: Callable[..., Pooler],
        box_head: Callable[..., TwoFcBoxHead | ConvBoxHead | AveragedBoxHead],
        coder: DeltaCoder,
        assigner: MaxIoUAssigner,
        sampler: Sampler,
        class_loss: ClassLoss,
        box_loss: BoxLoss,
        divisor: DivisorName | int,
        shared: Literal["next_stage"] | None = None,
        next_stage: Callable[[], NextStage] | None = None,
        class_agnostic: bool = False,
        target_frame: Frame = "input",
        loss_weight: float = 1.0,
        background_box: bool = False,
        ground_truth: GroundTruth = "first",
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_boxes = 1 if class_agnostic else num_classes + background_box
        self.pooler = pooler(in_specs=in_specs)
        channels, size = in_specs[0].channels, self.pooler.output_size
        self.shared: nn.Module = nn.Identity()
        if shared is not None:
            self.shared = _shared(shared, next_stage)
            channels, size = self.shared.spec.channels, -(-size // self.shared.spec.stride)
        self.box_head = box_head(
            in_channels=channels, pooled_size=size, num_classes=num_classes, num_boxes=self.num_boxes
        )
        self.coder = coder
        self.assigner = assigner
        self.sampler = sampler
        self.class_loss = class_loss
        self.box_loss = box_loss
        self.divisor = find_divisor(divisor)
        if target_frame not in get_args(Frame):
            raise ValueError(f"target_frame: {target_frame!r} is none of {', '.join(get_args(Frame))}")
        self.target_frame = target_frame
        self.loss_weight = loss_weight
        if ground_truth not in get_args(GroundTruth):
            raise ValueError(f"ground_truth: {ground_truth!r} is none of {', '.join(get_args(GroundTruth))}")
        self.ground_truth = ground_truth

    def pool(self, features: Sequence[Tensor], regions: Sequence[Tensor]) -> Tensor:
        """What the box head takes, (R, C, S, S), of all images' regions, one after another.

        Args:
            features: (N, C, H, W) a level.
            regions: (P, 4) an image, in input pixels.
        """
        pooled: Tensor = self.shared(self.pooler(features, as_rois(regions)))
        return pooled

    def forward(self, features: Sequence[Tensor], regions: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Class logits (R, K + 1) and deltas (R, B * 4) of all images' regions; see `pool` for the arguments."""
        logits, deltas = self.box_head(self.pool(features, regions))
        return logits, deltas

    def decode(self, regions: Tensor, deltas: Tensor) -> Tensor:
        """Boxes (P, B, 4) from regions (P, 4) and their deltas (P, B * 4); not clipped."""
        references = regions[:, None].expand(-1, self.num_boxes, -1)
        return self.coder.decode(references, deltas.float().view(-1, self.num_boxes, 4))

    def own_deltas(self, deltas: Tensor, rows: Tensor, labels: Tensor) -> Tensor:
        """Of the deltas (R, B * 4) of all regions those of some rows (M,) for a label (M,) each, (M, 4), float32."""
        places = torch.add(labels, rows, alpha=self.num_boxes) if self.num_boxes > 1 else rows
        return deltas.view(-1, 4).index_select(0, places).float()  # (R * B, 4) -> (M, 4)

    def losses(self, logits: Tensor, deltas: Tensor, sampled: Sequence[RoiTargets]) -> dict[str, Tensor]:
        """Scalars `loss_cls`, of all regions, and `loss_bbox`, of the positives' boxes.

        Args:
            logits: (R, K + 1), of the sampled regions.
            deltas: (R, B * 4), of the same.
            sampled: one an image.
        """
        labels = torch.cat([image.labels for image in sampled])  # (R,)
        references = torch.cat([image.references for image in sampled])  # (O, 4)
        boxes = torch.cat([image.boxes for image in sampled])  # (O, 4)
        rows = _positive_rows(sampled, labels.device)  # (O,)
        own = self.own_deltas(deltas, rows, torch.cat([image.labels[: len(image.boxes)] for image in sampled]))
        regression = self.box_loss.loss_from_deltas(self.coder, references, own, boxes)
        positives = [len(image.boxes) for image in sampled]
        negatives = [len(image.labels) - len(image.boxes) for image in sampled]
        losses = {"loss_cls": self.class_loss(logits, labels), "loss_bbox": regression}
        divisor = self.divisor(positives, negatives)
        return {name: loss / divisor * self.loss_weight for name, loss in losses.items()}

    def assign(
        self,
        proposals: Sequence[Tensor],
        targets: Sequence[Target],
        geometries: Sequence[ImageGeometry],
        stand_ins: bool = False,
    ) -> list[RoiTargets]:
        """The regions of each image that are trained on; see `roi_targets`.

        Args:
            proposals: (P, 4), in input pixels, one an image.
            targets: boxes (G, 4), in input pixels, one an image.
            geometries: one an image.
            stand_ins: boxes of label K stand for no object.
        """
        return roi_targets(
            *(proposals, targets, self.assigner, self.sampler, self.num_classes),
            scales=[geometry.scale for geometry in geometries] if self.target_frame == "original" else None,
            ground_truth=self.ground_truth,
            stand_ins=stand_ins,
        )

    @torch.no_grad()
    def refine(self, deltas: Tensor, sampled: Sequence[RoiTargets]) -> list[Tensor]:
        """The regions (P, 4) that the next stage of a cascade is trained on, of each image, before they are matched.

        They are the boxes of all that this stage was trained on, but for those without area, and but for regions that
        were a ground-truth box already: the next stage adds those again.

        Args:
            deltas: (R, 4), of the sampled regions.
            sampled: one an image.
        """
        boxes = self.decode(torch.cat([image.regions for image in sampled]), deltas)[:, 0]  # (R, 1, 4) -> (R, 4)
        refined = zip(boxes.split([len(image.regions) for image in sampled]), sampled, strict=True)  # type: ignore[no-untyped-call] # torch's own
        return [image[large_enough(image, 0.0, self.coder.convention) & (was.overlaps < 1)] for image, was in refined]


def _positive_rows(sampled: Sequence[RoiTargets], device: torch.device) -> Tensor:
    """Where the positives (O,) of all images are among all their regions (R,); they come first in every image."""
    rows, start = [], 0
    for image in sampled:
        rows.append(torch.arange(start, start + len(image.boxes), device=device))
        start += len(image.labels)
    return torch.cat(rows)


def as_rois(regions: Sequence[Tensor]) -> Tensor:
    """(R, 5): the image index before each box (P, 4) of each image."""
    sizes = [len(boxes) for boxes in regions]
    rois = regions[0].new_empty((sum(sizes), 5))
    for i, (part, boxes) in enumerate(zip(torch.split(rois, sizes), regions, strict=True)):
        part[:, 0] = i
        part[:, 1:] = boxes
    return rois


def _shared(kind: str, next_stage: Callable[[], NextStage] | None) -> NextStage:
    """What pooled features go through before the heads.

    Raises:
        ValueError: the backbone has none.
    """
    if kind != "next_stage":
        raise ValueError(f"shared: {kind!r}, known is 'next_stage'")
    if next_stage is None:
        raise ValueError("shared: the backbone leaves no stage to the RoI head")
    return next_stage()
