"""What the anchors of a dense head are trained to say, whether it is a first stage or the only one.

Legend: N images, M anchors of all levels, V of them valid in one image; P positives and Q negatives of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.models.assigners.max_iou import Assigner
from zoo.models.samplers import Sampled, Sampler
from zoo.types import Target


@dataclass(frozen=True, slots=True)
class AnchorTargets:
    """The anchors of a batch that are trained on, and what each is trained to say.

    Attributes:
        positive: int64 (P,), objects: positions among the anchors of all images, (N * M,), one image after another.
        negative: int64 (Q,), background: likewise.
        anchors: int64 (P,), the positives' positions among the anchors of their image, (M,).
        labels: int64 (P,), the class of each positive.
        boxes: (P, 4), the ground-truth box of each positive.
        counts: how many positives each image has, and how many negatives.
    """

    positive: Tensor
    negative: Tensor
    anchors: Tensor
    labels: Tensor
    boxes: Tensor
    counts: tuple[list[int], list[int]]


@torch.no_grad()
def anchor_targets(
    anchors: Tensor,
    valid_anchors: Sequence[Tensor | None],
    targets: Sequence[Target],
    assigner: Assigner,
    sampler: Sampler,
) -> AnchorTargets:
    """Match, sample, and say where the answers belong.

    Args:
        anchors: (M, 4), of all levels, one after another.
        valid_anchors: positions (V,) of those that may be trained on, one tensor an image; None: all may.
        targets: one an image.
        assigner: matches anchors with ground-truth boxes.
        sampler: chooses the anchors that are trained on.
    """
    matches = [
        assigner(anchors if valid is None else anchors[valid], target.boxes)
        for valid, target in zip(valid_anchors, targets, strict=True)
    ]
    sampled = [_unrepeated(image) for image in sampler(matches, [target.labels for target in targets])]
    matched = [match.gt_inds[image.positive] for match, image in zip(matches, sampled, strict=True)]
    positive, negative = (
        [kept if valid is None else valid[kept] for kept, valid in zip(side, valid_anchors, strict=True)]
        for side in ([image.positive for image in sampled], [image.negative for image in sampled])
    )
    return AnchorTargets(
        positive=_in_batch(positive, len(anchors)),
        negative=_in_batch(negative, len(anchors)),
        anchors=torch.cat(positive),
        labels=torch.cat([target.labels[own] for target, own in zip(targets, matched, strict=True)]),
        boxes=torch.cat([target.boxes[own] for target, own in zip(targets, matched, strict=True)]),
        counts=([len(own) for own in positive], [len(own) for own in negative]),
    )


def _unrepeated(sampled: Sampled) -> Sampled:
    """The same with each negative once: however often it was drawn, an anchor is trained once."""
    return Sampled(sampled.positive, torch.unique(sampled.negative)) if sampled.replaced else sampled


def _in_batch(places: Sequence[Tensor], count: int) -> Tensor:
    """Positions among all images' anchors of positions among those of each, of which it has so many."""
    return torch.cat([own if i == 0 else own + i * count for i, own in enumerate(places)])
