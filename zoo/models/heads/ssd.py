"""SSD's dense head (Liu et al., "SSD: Single Shot MultiBox Detector", 2016), and SSDLite's (Sandler et al., 2018).

Legend: N images, A default boxes a cell of a level, M default boxes of all levels, K object classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from zoo.data.detections import Detections
from zoo.models.assigners.max_iou import Assigner
from zoo.models.coders import BoxCoder
from zoo.models.default_boxes import DefaultBoxes
from zoo.models.heads.anchor_head import AnchorOutputs, flatten_levels
from zoo.models.heads.anchor_targets import anchor_targets
from zoo.models.heads.dense import DenseHead
from zoo.models.layers.conv import ConvNorm
from zoo.models.layers.init import init_uniform
from zoo.models.losses.divisors import positives_of_batch
from zoo.models.losses.mining import hard_negatives
from zoo.models.losses.regression import BoxLoss
from zoo.models.samplers import AllSampler
from zoo.models.selection import DetectionSelector
from zoo.types import Batch, FeatureSpec, Target


def conv_predictor(in_channels: int, out_channels: int) -> nn.Module:
    """A 3x3 convolution (SSD)."""
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
    init_uniform(conv.weight, "xavier")
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type] # it has a bias
    return conv


def separable_predictor(
    in_channels: int, out_channels: int, norm_eps: float = 1e-3, norm_momentum: float = 0.03
) -> nn.Module:
    """A depthwise 3x3 with normalisation and ReLU6, and a 1x1 (SSDLite).

    Args:
        in_channels: of the map.
        out_channels: of the answer.
        norm_eps: added to the variance by the normalisation.
        norm_momentum: share of a new batch in the running statistics.
    """
    relu6 = nn.ReLU6(inplace=True)
    depthwise = ConvNorm(
        *(in_channels, in_channels, 3), groups=in_channels, activation=relu6, eps=norm_eps, momentum=norm_momentum
    )
    pointwise = nn.Conv2d(in_channels, out_channels, 1)
    for conv in (depthwise.conv, pointwise):
        nn.init.normal_(conv.weight, std=0.03)
    nn.init.zeros_(pointwise.bias)  # type: ignore[arg-type] # it has a bias
    return nn.Sequential(depthwise, pointwise)


class SsdHead(DenseHead):
    """Classes, background among them, and deltas of every default box; each level has its own layers.

    Args:
        in_specs: of the feature maps, fine to coarse.
        num_classes: K.
        default_boxes: their boxes on those maps.
        coder: of the deltas.
        detections: which (default box, class) pairs are kept.
        assigner: matches default boxes with ground-truth boxes.
        box_loss: of the positives.
        negative_ratio: negatives trained on for each positive of an image, those that are classified worst.
        predictor: makes the layers of a level, from its channels and those of the answer.
    """

    def __init__(
        self,
        in_specs: Sequence[FeatureSpec],
        num_classes: int,
        default_boxes: DefaultBoxes,
        coder: BoxCoder,
        detections: DetectionSelector,
        assigner: Assigner,
        box_loss: BoxLoss,
        negative_ratio: int = 3,
        predictor: Callable[[int, int], nn.Module] = conv_predictor,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.default_boxes = default_boxes
        self.coder = coder
        self.detections = detections
        self.assigner = assigner
        self.box_loss = box_loss
        self.negative_ratio = negative_ratio
        levels = list(zip(in_specs, default_boxes.per_cell, strict=True))
        self.logits = nn.ModuleList(predictor(spec.channels, count * (num_classes + 1)) for spec, count in levels)
        self.deltas = nn.ModuleList(predictor(spec.channels, count * 4) for spec, count in levels)

    def forward(self, features: Sequence[Tensor]) -> AnchorOutputs:
        """Feature maps (N, C', H, W), a level each, to class logits, background last, and deltas of every default box.

        Raises:
            ValueError: there are more or fewer levels than the head has layers for.
        """
        return AnchorOutputs(
            [layers(x) for layers, x in zip(self.logits, features, strict=True)],
            [layers(x) for layers, x in zip(self.deltas, features, strict=True)],
        )

    @torch.no_grad()
    def detect(self, outputs: AnchorOutputs, batch: Batch) -> list[Detections]:
        """Detections of each image, in pixels of the original.

        Args:
            outputs: of the batch.
            batch: boxes are clipped to the extents of its images.
        """
        logits, deltas, boxes = self._flatten(outputs, batch)
        scores = logits.softmax(dim=-1)[..., : self.num_classes]
        detections = []
        for score, delta, geometry in zip(scores, deltas, batch.geometries, strict=True):
            candidates = self.detections.decode_candidates(score, delta, boxes, self.coder, geometry)
            found = self.detections.to_original(self.detections.select(*candidates, geometry), geometry)
            detections.append(self.detections.reported(found))
        return detections

    def losses(self, outputs: AnchorOutputs, targets: Sequence[Target], batch: Batch) -> dict[str, Tensor]:
        """Scalars `loss_cls` (of positives and hard negatives) and `loss_bbox` (of the positives), by their number.

        Args:
            outputs: of the batch.
            targets: one an image.
            batch: of which all default boxes are trained on.
        """
        logits, deltas, boxes = self._flatten(outputs, batch)
        assigned = anchor_targets(boxes, [None] * len(targets), targets, self.assigner, AllSampler())
        rows = logits.flatten(0, 1)  # (N * M, K + 1)
        labels = torch.full((len(rows),), self.num_classes, device=rows.device)
        labels = labels.index_copy(0, assigned.positive, assigned.labels)
        classification = F.cross_entropy(rows, labels, reduction="none")  # (N * M,)
        losses = classification.view(len(targets), -1)  # (N, M)
        mined = hard_negatives(losses, assigned.positive, assigned.counts[0], self.negative_ratio)
        own = deltas.flatten(0, 1).index_select(0, assigned.positive)
        regression = self.box_loss.loss_from_deltas(self.coder, boxes[assigned.anchors], own, assigned.boxes)
        divisor = positives_of_batch(*assigned.counts)
        trained = torch.cat((assigned.positive, mined))
        return {"loss_cls": classification.index_select(0, trained).sum() / divisor, "loss_bbox": regression / divisor}

    def _flatten(self, outputs: AnchorOutputs, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (N, M, K + 1) and deltas (N, M, 4), float32, and default boxes (M, 4)."""
        logits = flatten_levels(outputs.logits, self.num_classes + 1).float()
        boxes = self.default_boxes.grid(outputs.cells, batch.input_shape, outputs.device)
        return logits, flatten_levels(outputs.deltas, 4).float(), torch.cat(boxes)
