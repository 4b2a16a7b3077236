"""What the anchors of a dense head are trained to say, whether it is a first stage or the only one.

Legend: N images, L levels, M anchors of all levels, V of them valid in one image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.models.assigners.max_iou import IGNORED, NEGATIVE, Assigner
from zoo.models.samplers import Sampler
from zoo.types import Target


@dataclass(frozen=True, slots=True)
class AnchorTargets:
    """What each anchor of a batch, or of one level of it, is trained to say.

    Attributes:
        labels: int64 (N, M): the class of an object, NEGATIVE for background, or IGNORED: not trained on.
        boxes: (N, M, 4), the ground-truth box of each positive, zeros elsewhere.
    """

    labels: Tensor
    boxes: Tensor

    @property
    def valid(self) -> Tensor:
        """Which anchors (N, M) are trained on."""
        return self.labels != IGNORED

    @property
    def positive(self) -> Tensor:
        """Which anchors (N, M) are objects."""
        return self.labels >= 0

    @property
    def counts(self) -> tuple[Tensor, Tensor]:
        """How many positives (N,) and negatives (N,) each image has."""
        return self.positive.sum(dim=1), (self.labels == NEGATIVE).sum(dim=1)

    def levels(self, counts: Sequence[int]) -> list[AnchorTargets]:
        """The part of each level, which has so many anchors."""
        parts = zip(self.labels.split(counts, dim=1), self.boxes.split(counts, dim=1), strict=True)  # type: ignore[no-untyped-call] # torch's own
        return [AnchorTargets(labels, boxes) for labels, boxes in parts]


@torch.no_grad()
def anchor_targets(
    anchors: Tensor,
    valid_anchors: Sequence[Tensor],
    targets: Sequence[Target],
    assigner: Assigner,
    sampler: Sampler,
) -> AnchorTargets:
    """Match, sample, and put the answers where the anchors are.

    Args:
        anchors: (M, 4), of all levels, one after another.
        valid_anchors: positions (V,) of those that may be trained on, one tensor an image.
        targets: one an image.
        assigner: matches anchors with ground-truth boxes.
        sampler: chooses the anchors that are trained on.
    """
    labels = torch.full((len(targets), len(anchors)), IGNORED, dtype=torch.int64, device=anchors.device)
    boxes = anchors.new_zeros((len(targets), *anchors.shape))
    for i, (valid, target) in enumerate(zip(valid_anchors, targets, strict=True)):
        matches = assigner(anchors[valid], target.boxes)
        sampled = sampler(matches, target.labels)
        positive, matched_gt_inds = valid[sampled.positive], matches.gt_inds[sampled.positive]
        labels[i, valid[sampled.negative]] = NEGATIVE
        labels[i, positive] = target.labels[matched_gt_inds]
        boxes[i, positive] = target.boxes[matched_gt_inds]
    return AnchorTargets(labels, boxes)
