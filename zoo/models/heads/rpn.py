"""Region proposal network (Ren et al., "Faster R-CNN", 2015).

Legend: N images, A anchors a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from zoo.models.anchors import Anchors
from zoo.models.assigners.max_iou import MaxIoUAssigner
from zoo.models.coders import DeltaCoder
from zoo.models.heads.anchor_head import AnchorHead, AnchorOutputs, AnchorRows, ValidAnchors
from zoo.models.losses.classification import ClassLoss
from zoo.models.losses.divisors import DivisorName
from zoo.models.losses.regression import BoxLoss
from zoo.models.samplers import Sampler
from zoo.models.selection import Proposals, ProposalSelector, RankedAnchors
from zoo.types import FeatureSpec, ImageGeometry, Target

Scores = Literal["sigmoid", "logit", "softmax"]
"""By what anchors are ranked."""


class RpnHead(AnchorHead):
    """One small network slid over all levels: an objectness logit and four deltas an anchor.

    Args:
        in_specs: of the feature maps, fine to coarse.
        anchors: their boxes on those maps.
        coder: of the deltas.
        proposals: which anchors become proposals in evaluation.
        training_proposals: which do in training.
        assigner: matches anchors with ground-truth boxes.
        sampler: chooses the anchors that are trained on.
        class_loss: of the sampled anchors' objectness.
        box_loss: of the positives.
        divisor: name of what both are divided by, or a number: so many an image.
        channels: of the hidden 3x3 convolution; None: as many as the maps have.
        depth: hidden convolutions, one after another.
        valid_anchors: those that an image is trained on.
        scores: by which proposals are ranked: "sigmoid", which makes large logits equal, or "logit"; or "softmax" of an
            anchor's two logits, of an object and of background, as Ren et al. had it.
        box_divisor: what the box loss is divided by, where that is another.
    """

    coder: DeltaCoder
    assigner: MaxIoUAssigner

    def __init__(
        self,
        in_specs: Sequence[FeatureSpec],
        anchors: Anchors,
        coder: DeltaCoder,
        proposals: ProposalSelector,
        training_proposals: ProposalSelector,
        assigner: MaxIoUAssigner,
        sampler: Sampler,
        class_loss: ClassLoss,
        box_loss: BoxLoss,
        divisor: DivisorName | int,
        channels: int | None = None,
        depth: int = 1,
        valid_anchors: ValidAnchors = "padded",
        scores: Scores = "sigmoid",
        box_divisor: DivisorName | int | None = None,
    ) -> None:
        if scores not in get_args(Scores):
            raise ValueError(f"scores: {scores!r} is none of {', '.join(get_args(Scores))}")
        super().__init__(
            *(in_specs, 1, anchors, coder, assigner, sampler, class_loss, box_loss, divisor),
            valid_anchors=valid_anchors,
            background=scores == "softmax",
            box_divisor=box_divisor,
        )
        self.proposals = proposals
        self.training_proposals = training_proposals
        self.scores = scores
        in_channels = in_specs[0].channels
        channels = channels or in_channels
        self.conv = _hidden(in_channels, channels, depth)
        self.relu = nn.ReLU(inplace=True)
        self.logits = nn.Conv2d(channels, anchors.per_cell * self.columns, 1)
        self.deltas = nn.Conv2d(channels, anchors.per_cell * 4, 1)
        for conv in self.modules():
            if isinstance(conv, nn.Conv2d):
                nn.init.normal_(conv.weight, std=0.01)
                nn.init.constant_(conv.bias, 0)  # type: ignore[arg-type] # these convolutions have a bias

    def forward(self, features: Sequence[Tensor]) -> AnchorOutputs:
        """Feature maps (N, C, H, W), a level each, to logits and deltas of every anchor."""
        hidden = [self.relu(self.conv(feature)) for feature in features]
        return AnchorOutputs([self.logits(x) for x in hidden], [self.deltas(x) for x in hidden])

    def propose(
        self, outputs: AnchorOutputs, geometries: Sequence[ImageGeometry], rows: AnchorRows | None = None
    ) -> list[Proposals]:
        """Proposals of each image.

        Args:
            outputs: of a batch.
            geometries: one an image; proposals are clipped to its extent.
            rows: of the outputs, where they have been made for the losses too.
        """
        return self.select(self.rank(outputs, rows), geometries)

    @torch.no_grad()
    def rank(self, outputs: AnchorOutputs, rows: AnchorRows | None = None) -> RankedAnchors:
        """The best anchors of each level, decoded: as many of any image of these shapes; see `propose`."""
        own, deltas = rows or outputs.rows()  # (N, M, 1), or with background (N, M, 2); (N, M, 4)
        logits = own.to(torch.float32, copy=rows is not None)  # what is written into here is nobody else's
        scores = (logits.softmax(dim=-1) if self.scores == "softmax" else logits)[..., 0]
        if self.scores == "sigmoid":
            # Each level of each image by itself, though in one call: on a CPU the end of a tensor is not vectorised and
            # rounded otherwise, which decides between equals.
            torch._foreach_sigmoid_([level for image in scores for level in image.split(outputs.level_sizes)])
        return self._selector.rank(scores, deltas, self.boxes(outputs), outputs.level_sizes, self.coder)

    @torch.no_grad()
    def select(self, ranked: RankedAnchors, geometries: Sequence[ImageGeometry]) -> list[Proposals]:
        """Proposals of each image, of its best anchors, clipped to its extent."""
        return self._selector.select(ranked, geometries)

    @property
    def _selector(self) -> ProposalSelector:
        return self.training_proposals if self.training else self.proposals

    def losses(
        self,
        outputs: AnchorOutputs,
        targets: Sequence[Target],
        geometries: Sequence[ImageGeometry],
        rows: AnchorRows | None = None,
    ) -> dict[str, Tensor]:
        """Scalars `loss_rpn_cls`, of the objectness, and `loss_rpn_bbox`, of the positives' deltas.

        Args:
            outputs: of a batch.
            targets: one an image; any class is an object here.
            geometries: one an image.
            rows: of the outputs, where they have been made for proposals too.
        """
        objects = [Target(target.boxes, torch.zeros_like(target.labels)) for target in targets]
        classification, regression = self.sampled_losses(outputs, objects, geometries, rows)
        return {"loss_rpn_cls": classification, "loss_rpn_bbox": regression}


def _hidden(in_channels: int, channels: int, depth: int) -> nn.Module:
    """So many 3x3 convolutions with activations between them; none after the last."""
    first = nn.Conv2d(in_channels, channels, 3, padding=1)
    others = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(depth - 1))
    layers = [layer for conv in others for layer in (nn.ReLU(inplace=True), conv)]
    return nn.Sequential(first, *layers) if layers else first
