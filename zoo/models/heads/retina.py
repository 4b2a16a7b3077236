"""RetinaNet's dense head (Lin et al., "Focal Loss for Dense Object Detection", 2017).

Legend: N images, L levels, A anchors a cell, M anchors of one level, K object classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from zoo.models import boxes as box_ops
from zoo.models.anchors import AnchorGenerator
from zoo.models.assigners.max_iou import MaxIoUAssigner
from zoo.models.coders import DeltaCoder
from zoo.models.heads.anchor_targets import AnchorTargets, anchor_targets
from zoo.models.heads.roi import DetectionSettings
from zoo.models.heads.rpn import flatten_anchors
from zoo.models.losses.classification import ClassLoss, FocalLoss
from zoo.models.losses.regression import BoxLoss, L1Loss
from zoo.models.samplers import AllSampler
from zoo.types import Detections, FeatureSpec, ImageGeometry, Size, Target

PRIOR = 0.01
"""Score of every class before training: without it the background would drown the first steps."""


class ConvTower(nn.Module):
    """Stacked 3x3 convolutions whose weights the levels share; a normalisation is each level's own.

    Levels differ in their statistics, so shared running means would fit none of them.

    Args:
        in_channels: of every level.
        channels: of every convolution.
        depth: number of convolutions.
        levels: L.
        norm: batch normalisation after each convolution, which then has no bias.
    """

    def __init__(self, in_channels: int, channels: int, depth: int, levels: int, norm: bool) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(in_channels if i == 0 else channels, channels, 3, padding=1, bias=not norm) for i in range(depth)
        )
        self.norms = nn.ModuleList(
            nn.ModuleList(nn.BatchNorm2d(channels) if norm else nn.Identity() for _ in range(depth))
            for _ in range(levels)
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Maps (N, C, H, W) of each level to as many (N, channels, H, W)."""
        hidden = []
        for x, norms in zip(features, self.norms, strict=True):
            for conv, norm in zip(self.convs, norms, strict=True):  # type: ignore[call-overload] # a list of modules
                x = F.relu(norm(conv(x)), inplace=True)
            hidden.append(x)
        return hidden


class RetinaHead(nn.Module):
    """Two towers over all levels: class logits and box deltas of every anchor.

    Args:
        in_specs: of the feature maps, fine to coarse.
        num_classes: object classes.
        anchors: their boxes on those maps.
        detections: which (anchor, class) pairs are kept.
        assigner: matches anchors with ground-truth boxes; all that it does not ignore are trained on.
        class_loss: of all anchors and classes.
        box_loss: of the objects' anchors, on encoded deltas or on decoded boxes.
        per_level: best-scored pairs kept of each level, before suppression.
        channels: of the towers.
        depth: of the towers.
        norm: batch normalisation in the towers.
    """

    def __init__(
        self,
        in_specs: Sequence[FeatureSpec],
        num_classes: int,
        anchors: AnchorGenerator,
        detections: DetectionSettings,
        assigner: MaxIoUAssigner,
        class_loss: ClassLoss | None = None,
        box_loss: BoxLoss | None = None,
        per_level: int = 1000,
        channels: int = 256,
        depth: int = 4,
        norm: bool = False,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.anchors = anchors
        self.detections = detections
        self.assigner = assigner
        self.per_level = per_level
        self.class_loss = class_loss or FocalLoss()
        self.box_loss = box_loss or L1Loss()
        self.coder = DeltaCoder()
        self.class_tower = ConvTower(in_specs[0].channels, channels, depth, len(in_specs), norm)
        self.box_tower = ConvTower(in_specs[0].channels, channels, depth, len(in_specs), norm)
        self.logits = nn.Conv2d(channels, anchors.per_cell * num_classes, 3, padding=1)
        self.deltas = nn.Conv2d(channels, anchors.per_cell * 4, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.constant_(self.logits.bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type] # it has a bias

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Per level: logits (N, A * K, H, W) and deltas (N, A * 4, H, W), both anchor-major."""
        logits = [self.logits(x) for x in self.class_tower(features)]
        deltas = [self.deltas(x) for x in self.box_tower(features)]
        return logits, deltas

    @torch.no_grad()
    def detect(
        self,
        logits: Sequence[Tensor],
        deltas: Sequence[Tensor],
        geometries: Sequence[ImageGeometry],
    ) -> list[Detections]:
        """Detections of each image, in pixels of the original.

        Args:
            logits: (N, A * K, H, W) a level.
            deltas: (N, A * 4, H, W) a level.
            geometries: one an image; boxes are clipped to its extent.
        """
        grids = self.anchors.grid([(x.shape[2], x.shape[3]) for x in logits], logits[0].device)
        logits = [flatten_anchors(x, self.num_classes).float() for x in logits]  # (N, M, K)
        deltas = [flatten_anchors(x, 4).float() for x in deltas]  # (N, M, 4)
        return [
            self._detect_one([x[i] for x in logits], [x[i] for x in deltas], grids, geometry)
            for i, geometry in enumerate(geometries)
        ]

    def _detect_one(
        self,
        logits: Sequence[Tensor],
        deltas: Sequence[Tensor],
        grids: Sequence[Tensor],
        geometry: ImageGeometry,
    ) -> Detections:
        """Logits (M, K), deltas (M, 4) and anchors (M, 4), a level each."""
        levels = [self._best_of_level(*level, geometry) for level in zip(logits, deltas, grids, strict=True)]
        boxes, scores, labels = (torch.cat(parts) for parts in zip(*levels, strict=True))
        boxes = boxes * (1 / boxes.new_tensor(geometry.scale)).repeat(2)
        # An empty box overlaps nothing, so nothing would ever suppress it.
        solid = box_ops.not_empty(boxes)
        boxes, scores, labels = boxes[solid], scores[solid], labels[solid]
        keep = box_ops.grouped_nms(boxes, scores, labels, self.detections.iou_threshold)[: self.detections.per_image]
        return Detections(boxes[keep], scores[keep], labels[keep])

    def _best_of_level(
        self, logits: Tensor, deltas: Tensor, anchors: Tensor, geometry: ImageGeometry
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (P, 4), scores (P,) and labels (P,) of the best pairs, in input pixels."""
        scores = logits.sigmoid()  # (M, K)
        anchor, label = (scores > self.detections.score_threshold).nonzero(as_tuple=True)
        scores, best = scores[anchor, label].sort(descending=True)
        scores, best = scores[: self.per_level], best[: self.per_level]
        anchor, label = anchor[best], label[best]
        return box_ops.clip(self.coder.decode(anchors[anchor], deltas[anchor]), geometry.extent), scores, label

    def losses(
        self,
        logits: Sequence[Tensor],
        deltas: Sequence[Tensor],
        targets: Sequence[Target],
        padded_sizes: Sequence[Size],
    ) -> dict[str, Tensor]:
        """Scalars `loss_cls` (of all anchors and classes) and `loss_bbox` (of objects' boxes).

        Both are summed over the batch and divided by its number of objects.

        Args:
            logits: (N, A * K, H, W) a level.
            deltas: (N, A * 4, H, W) a level.
            targets: one an image.
            padded_sizes: of the images, each padded as if it were alone; cells beyond are not trained on.
        """
        classification, regression = self.level_losses(logits, deltas, targets, padded_sizes)
        return {"loss_cls": classification.sum(), "loss_bbox": regression.sum()}

    def level_losses(
        self,
        logits: Sequence[Tensor],
        deltas: Sequence[Tensor],
        targets: Sequence[Target],
        padded_sizes: Sequence[Size],
    ) -> tuple[Tensor, Tensor]:
        """The share of each level, (L,) and (L,), in the two losses; arguments as for `losses`."""
        cells = [(x.shape[2], x.shape[3]) for x in logits]
        grids = self.anchors.grid(cells, logits[0].device)
        wanted = self.assign(cells, targets, padded_sizes, logits[0].device)
        classification, regression = [], []
        for logit, delta, anchors, level in zip(
            logits, deltas, grids, wanted.levels([len(grid) for grid in grids]), strict=True
        ):
            used, objects = level.used, level.objects  # (N, M)
            labels = torch.where(objects, level.labels, self.num_classes)
            classification.append(self.class_loss(flatten_anchors(logit, self.num_classes)[used], labels[used]))
            references, found = anchors.expand_as(level.boxes)[objects], flatten_anchors(delta, 4)[objects]
            regression.append(self.box_loss.of_refinement(self.coder, references, found, level.boxes[objects]))
        divisor = wanted.count(wanted.objects) + torch.finfo(torch.float32).eps
        return torch.stack(classification) / divisor, torch.stack(regression) / divisor

    def assign(
        self, cells: Sequence[Size], targets: Sequence[Target], padded_sizes: Sequence[Size], device: torch.device
    ) -> AnchorTargets:
        """What a batch is trained to say.

        Args:
            cells: (H, W) a level.
            targets: one an image.
            padded_sizes: of the images, each padded as if it were alone.
            device: of the answer.
        """
        anchors = torch.cat(self.anchors.grid(cells, device))  # of all levels
        eligible = [self.anchors.inside(cells, size, device) for size in padded_sizes]
        return anchor_targets(anchors, eligible, targets, self.assigner, AllSampler())
