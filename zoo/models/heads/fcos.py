"""FCOS's dense head as torchvision has it (Tian et al., "FCOS: A simple and strong anchor-free object detector", 2020).

Legend: N images, L levels, M cells of one level, K object classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from zoo.models.anchors import Anchors
from zoo.models.assigners.max_iou import Assigner
from zoo.models.coders import DistanceCoder
from zoo.models.heads.anchor_head import AnchorOutputs, anchor_rows, flatten_anchors
from zoo.models.heads.retina import RetinaHead
from zoo.models.losses.classification import ClassLoss, sigmoid_cross_entropy
from zoo.models.losses.regression import BoxLoss
from zoo.models.samplers import AllSampler
from zoo.models.selection import DetectionSelector
from zoo.types import Batch, FeatureSpec, Target


@dataclass(slots=True)
class FcosOutputs(AnchorOutputs):
    """What the head says of every cell of a batch; its deltas are distances, not below 0.

    Attributes:
        centerness: logits (N, 1, H, W) a level.
    """

    centerness: list[Tensor]


class FcosHead(RetinaHead):
    """RetinaNet's head with one square a cell, from whose middle distances to the box's sides are told, and centerness.

    Centerness is how near a cell is to the middle of its box; a score is the geometric mean of it and of the class's
    probability.

    Args:
        in_specs: of the feature maps, fine to coarse.
        num_classes: object classes.
        anchors: one square a cell; its side is the unit of distances.
        detections: which (cell, class) pairs are kept.
        assigner: matches squares with ground-truth boxes.
        class_loss: of all cells, all classes.
        box_loss: of the positives, on decoded boxes.
        tower: makes a tower from its input channels, channels and depth.
        channels: of the towers.
        depth: of the towers.

    Raises:
        ValueError: the cells have more than one anchor.
    """

    def __init__(
        self,
        in_specs: Sequence[FeatureSpec],
        num_classes: int,
        anchors: Anchors,
        detections: DetectionSelector,
        assigner: Assigner,
        class_loss: ClassLoss,
        box_loss: BoxLoss,
        tower: Callable[[int, int, int], nn.Module],
        channels: int = 256,
        depth: int = 4,
    ) -> None:
        if anchors.per_cell != 1:
            raise ValueError(f"anchors: FCOS has one a cell, not {anchors.per_cell}")
        super().__init__(
            *(in_specs, num_classes, anchors, DistanceCoder(), detections, assigner, AllSampler()),
            *(class_loss, box_loss, "positives_of_batch", channels, depth),
            tower=tower,
            valid_anchors="all",
        )
        self.centerness = nn.Conv2d(channels, 1, 3, padding=1)
        nn.init.normal_(self.centerness.weight, std=0.01)
        nn.init.zeros_(self.centerness.bias)  # type: ignore[arg-type] # it has a bias

    def forward(self, features: Sequence[Tensor]) -> FcosOutputs:
        """Feature maps (N, C, H, W), a level each, to class logits, distances and centerness of every cell."""
        logits = [self.logits(x) for x in self.class_tower(features)]
        hidden = self.box_tower(features)
        return FcosOutputs(logits, [F.relu(self.deltas(x)) for x in hidden], [self.centerness(x) for x in hidden])

    def scores(self, outputs: Any) -> Tensor:
        """Scores (M, K) of the one image of a batch, all levels, one after another, of `FcosOutputs`."""
        centerness = [flatten_anchors(x, 1)[0].float() for x in outputs.centerness]
        return super().scores(outputs).mul_(torch.cat(torch._foreach_sigmoid(centerness))).sqrt_()

    def losses(self, outputs: Any, targets: Sequence[Target], batch: Batch) -> dict[str, Tensor]:
        """Scalars `loss_cls` (of all cells and classes), `loss_bbox` and `loss_centerness` (of the positives).

        Args:
            outputs: `FcosOutputs` of the batch.
            targets: one an image.
            batch: of which all cells are trained on.
        """
        assigned = self.assign(outputs.cells, targets, batch.geometries, outputs.device)
        classification, regression = self.assigned_losses(outputs, assigned)
        squares = self.boxes(outputs)[assigned.anchors]
        wanted = centerness_targets(self.coder.encode(squares, assigned.boxes))
        said = anchor_rows(outputs.centerness, 1, assigned.positive)[:, 0]
        centerness = sigmoid_cross_entropy(said, wanted) / self.divisor(*assigned.counts)
        return {"loss_cls": classification, "loss_bbox": regression, "loss_centerness": centerness}


def centerness_targets(distances: Tensor) -> Tensor:
    """Centerness (P,) of points inside boxes from distances (P, 4): 1 in the middle, 0 at a side.

    The geometric mean of the nearer side's share of the farther's distance, along x and along y.
    """
    x, y = distances[:, 0::2], distances[:, 1::2]  # (P, 2) each
    return ((x.amin(dim=1) / x.amax(dim=1)) * (y.amin(dim=1) / y.amax(dim=1))).sqrt()
