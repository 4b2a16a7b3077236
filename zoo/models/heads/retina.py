"""RetinaNet's dense head (Lin et al., "Focal Loss for Dense Object Detection", 2017).

Legend: N images, L levels, A anchors a cell, M anchors of one level, K object classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from zoo.data.detections import Detections
from zoo.models.anchors import Anchors
from zoo.models.assigners.max_iou import Assigner
from zoo.models.coders import BoxCoder
from zoo.models.heads.anchor_head import AnchorHead, AnchorOutputs, ValidAnchors, flatten_anchors, flatten_levels
from zoo.models.heads.dense import DenseHead
from zoo.models.losses.classification import ClassLoss
from zoo.models.losses.divisors import DivisorName
from zoo.models.losses.regression import BoxLoss
from zoo.models.samplers import Sampler
from zoo.models.selection import DetectionSelector
from zoo.types import Batch, FeatureSpec, ImageGeometry, Target

LossOver = Literal["batch", "image"]
"""What losses are divided for: the whole batch at once, or each image, of which the mean is taken then."""

PRIOR = 0.01
"""Score of every class before training: without it the background would drown the first steps."""


class HeadTower(nn.Module):
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


class RetinaHead(AnchorHead, DenseHead):
    """Two towers over all levels: class logits and box deltas of every anchor.

    Args:
        in_specs: of the feature maps, fine to coarse.
        num_classes: object classes.
        anchors: their boxes on those maps.
        coder: of the deltas.
        detections: which (anchor, class) pairs are kept.
        assigner: matches anchors with ground-truth boxes.
        sampler: chooses the anchors that are trained on.
        class_loss: of the sampled anchors, all classes.
        box_loss: of the positives, on encoded deltas or on decoded boxes.
        divisor: name of what both are divided by, or a number: so many an image.
        channels: of the towers.
        depth: of the towers.
        norm: batch normalisation in the towers.
        tower: makes a tower of another kind, from its input channels, channels and depth; then without `norm`.
        valid_anchors: those that an image is trained on.
        loss_over: what the divisor counts.
    """

    def __init__(
        self,
        in_specs: Sequence[FeatureSpec],
        num_classes: int,
        anchors: Anchors,
        coder: BoxCoder,
        detections: DetectionSelector,
        assigner: Assigner,
        sampler: Sampler,
        class_loss: ClassLoss,
        box_loss: BoxLoss,
        divisor: DivisorName | int,
        channels: int = 256,
        depth: int = 4,
        norm: bool = False,
        tower: Callable[[int, int, int], nn.Module] | None = None,
        valid_anchors: ValidAnchors = "padded",
        loss_over: LossOver = "batch",
    ) -> None:
        super().__init__(
            *(in_specs, num_classes, anchors, coder, assigner, sampler, class_loss, box_loss, divisor),
            valid_anchors=valid_anchors,
        )
        if loss_over not in get_args(LossOver):
            raise ValueError(f"loss_over: {loss_over!r} is none of {', '.join(get_args(LossOver))}")
        if norm and tower is not None:
            raise ValueError("norm: a tower of another kind brings its own normalisation")
        self.detections = detections
        self.loss_over = loss_over

        def make_tower() -> nn.Module:
            in_channels = in_specs[0].channels
            if tower is not None:
                return tower(in_channels, channels, depth)
            return HeadTower(in_channels, channels, depth, len(in_specs), norm)

        self.class_tower, self.box_tower = make_tower(), make_tower()
        self.logits = nn.Conv2d(channels, anchors.per_cell * num_classes, 3, padding=1)
        self.deltas = nn.Conv2d(channels, anchors.per_cell * 4, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.constant_(self.logits.bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type] # it has a bias

    def forward(self, features: Sequence[Tensor]) -> AnchorOutputs:
        """Feature maps (N, C, H, W), a level each, to class logits and deltas of every anchor."""
        logits = [self.logits(x) for x in self.class_tower(features)]
        return AnchorOutputs(logits, [self.deltas(x) for x in self.box_tower(features)])

    @torch.no_grad()
    def detect(self, outputs: AnchorOutputs, batch: Batch) -> list[Detections]:
        """Detections of each image, in pixels of the original.

        Args:
            outputs: of the batch.
            batch: boxes are clipped to the extents of its images.
        """
        return [self._detect_one(outputs.images(i, i + 1), geometry) for i, geometry in enumerate(batch.geometries)]

    def scores(self, outputs: AnchorOutputs) -> Tensor:
        """Scores (M, K) of the one image of a batch, all levels, one after another, in the order of the anchors."""
        sizes = outputs.level_sizes
        scores = torch.empty((sum(sizes), self.num_classes), dtype=torch.float32, device=outputs.device)
        for x, level in zip(outputs.logits, torch.split(scores, sizes), strict=True):
            logits = flatten_anchors(x, self.num_classes)[0].float()
            if logits.is_contiguous():
                torch.sigmoid(logits, out=level)
            else:  # in the order of its memory: on a CPU the end of a tensor is not vectorised and rounded otherwise
                level.copy_(logits.sigmoid())
        return scores

    def _detect_one(self, outputs: AnchorOutputs, geometry: ImageGeometry) -> Detections:
        """Outputs of one image to its detections."""
        deltas = flatten_levels(outputs.deltas, 4)[0]
        candidates = self.detections.decode_candidates(
            *(self.scores(outputs), deltas, self.boxes(outputs), self.coder, geometry), level_sizes=outputs.level_sizes
        )
        found = self.detections.select(*candidates, geometry)
        return self.detections.reported(self.detections.to_original(found, geometry))

    def losses(self, outputs: AnchorOutputs, targets: Sequence[Target], batch: Batch) -> dict[str, Tensor]:
        """Scalars `loss_cls` (of all anchors and classes) and `loss_bbox` (of the positives' boxes).

        Args:
            outputs: of the batch.
            targets: one an image.
            batch: cells beyond the padded sizes of its images are not trained on.
        """
        count = len(targets) if self.loss_over == "batch" else 1
        shares = [
            self.sampled_losses(outputs.images(i, i + count), targets[i : i + count], batch.geometries[i : i + count])
            for i in range(0, len(targets), count)
        ]
        classification, regression = (torch.stack(share).mean() for share in zip(*shares, strict=True))
        return {"loss_cls": classification, "loss_bbox": regression}
