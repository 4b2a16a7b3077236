"""What the regions of a second stage are trained to say.

Legend: P regions of one image, O of them positive, G ground-truth boxes of it, K object classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from zoo.models.assigners.max_iou import IGNORED, Matches, MaxIoUAssigner
from zoo.models.samplers import Sampled, Sampler
from zoo.types import Target

GroundTruth = Literal["first", "last"]
"""Where an image's own boxes stand among its regions: in front of the proposals, each matched with itself; or behind
them, matched as they are (torchvision)."""


@dataclass(frozen=True, slots=True)
class RoiTargets:
    """The regions of one image that are trained on, positives first, and what each is to become.

    Attributes:
        regions: (P, 4), in input pixels.
        labels: int64 (P,), the class of each; K is background.
        overlaps: (P,), the largest of each with a ground-truth box.
        matched_gt_inds: int64 (O,), the ground-truth objects of the first O regions, the positives.
        references: (O, 4), the positives, in the pixels that boxes are learned in.
        boxes: (O, 4), their objects' boxes, in the same.
    """

    regions: Tensor
    labels: Tensor
    overlaps: Tensor
    matched_gt_inds: Tensor
    references: Tensor
    boxes: Tensor

    @property
    def positives(self) -> Tensor:
        """The first O regions, (O, 4)."""
        return self.regions[: len(self.boxes)]


@torch.no_grad()
def roi_targets(
    proposals: Sequence[Tensor],
    targets: Sequence[Target],
    assigner: MaxIoUAssigner,
    sampler: Sampler,
    num_classes: int,
    scales: Sequence[tuple[float, float]] | None = None,
    ground_truth: GroundTruth = "first",
    stand_ins: bool = False,
) -> list[RoiTargets]:
    """Match and sample the regions of each image of a batch.

    The ground-truth boxes are added to the proposals, so that even a first stage that finds nothing gives the
    second something to learn from.

    Args:
        proposals: (P, 4), in input pixels, one an image.
        targets: boxes (G, 4), in input pixels, one an image.
        assigner: matches regions with ground-truth boxes.
        sampler: chooses the regions that are trained on.
        num_classes: K.
        scales: (x, y) factors of each image to input pixels from those that boxes are matched and learned in; None:
            they are matched and learned in input pixels.
        ground_truth: where the ground-truth boxes stand.
        stand_ins: a box of label K stands for no object (see `pad_targets`): it is no region itself, and one that is
            matched with it counts as a positive when regions are drawn and is background when they are learned.
    """
    is_object = [target.labels < num_classes if stand_ins else None for target in targets]  # (G,) each
    images = [
        _candidates(boxes, target, assigner, own, None if scales is None else scales[i], ground_truth)
        for i, (boxes, target, own) in enumerate(zip(proposals, targets, is_object, strict=True))
    ]
    sampled = sampler([image.matches for image in images], [target.labels for target in targets])
    everything = zip(images, sampled, targets, is_object, strict=True)
    return [_targets_of(*image, num_classes) for image in everything]


class _Candidates(NamedTuple):
    """The regions (P + G, 4) of an image that may be drawn, in input pixels, with their matches; its factors (4,), or
    None where boxes are learned in input pixels; and its ground-truth boxes (G, 4), in the pixels they are learned in.
    """

    regions: Tensor
    matches: Matches
    factors: Tensor | None
    boxes: Tensor


def _candidates(
    proposals: Tensor,
    target: Target,
    assigner: MaxIoUAssigner,
    is_object: Tensor | None,
    scale: tuple[float, float] | None,
    ground_truth: GroundTruth,
) -> _Candidates:
    factors = None if scale is None else torch.cat([proposals.new_full((1,), factor) for factor in scale * 2])
    boxes = _divided(target.boxes, factors)  # (G, 4)
    if ground_truth == "last":
        regions = torch.cat((proposals, target.boxes))  # (P + G, 4)
        matches = assigner(_divided(regions, factors), boxes)
    else:
        regions = torch.cat((target.boxes, proposals))  # (G + P, 4)
        may_be_drawn = is_object
        if assigner.skip_pixels:
            large = ~assigner.single_pixels(boxes)
            may_be_drawn = large if is_object is None else large & is_object
        matches = _with_ground_truth(assigner(_divided(proposals, factors), boxes), len(boxes), may_be_drawn)
    return _Candidates(regions, matches, factors, boxes)


def _divided(boxes: Tensor, factors: Tensor | None) -> Tensor:
    return boxes if factors is None else boxes / factors


def _targets_of(
    image: _Candidates, sampled: Sampled, target: Target, is_object: Tensor | None, num_classes: int
) -> RoiTargets:
    matches, positive, others = image.matches, sampled.positive, sampled.negative
    if is_object is not None:
        own = is_object[matches.gt_inds[positive]]
        positive, others = positive[own], torch.cat((positive[~own], others))
    chosen = torch.cat((positive, others))
    regions, matched_gt_inds = image.regions[chosen], matches.gt_inds[positive]
    background = matched_gt_inds.new_full((len(others),), num_classes)
    return RoiTargets(
        regions=regions,
        labels=torch.cat((target.labels[matched_gt_inds], background)),
        overlaps=matches.overlaps[chosen],
        matched_gt_inds=matched_gt_inds,
        references=_divided(regions[: len(positive)], image.factors),
        boxes=image.boxes[matched_gt_inds],
    )


def _with_ground_truth(matches: Matches, count: int, may_be_drawn: Tensor | None) -> Matches:
    """Matches of proposals, (P,), and in front of them so many ground-truth boxes, (G,), each with itself.

    Args:
        matches: of the proposals.
        count: G.
        may_be_drawn: bool (G,); None: all may.
    """
    themselves = torch.arange(count, device=matches.gt_inds.device)
    if may_be_drawn is not None:
        themselves = themselves.masked_fill(~may_be_drawn, IGNORED)
    return Matches(
        torch.cat((themselves, matches.gt_inds)),
        torch.cat((matches.overlaps.new_ones(count), matches.overlaps)),
        torch.cat((matches.background.new_zeros(count), matches.background)),
    )


def pad_targets(targets: Sequence[Target], num_classes: int) -> list[Target]:
    """Targets of as many boxes each: where an image has fewer than another, boxes of zeros of label K are added.

    So did frameworks whose batches are dense. Where corners are pixels a box of zeros is the first pixel of the image.

    Args:
        targets: of a batch; masks stay as they are.
        num_classes: K.
    """
    most = max((len(target.labels) for target in targets), default=0)
    padded = []
    for target in targets:
        missing = most - len(target.labels)
        boxes = torch.cat((target.boxes, target.boxes.new_zeros(missing, 4)))
        padded.append(
            replace(
                target, boxes=boxes, labels=torch.cat((target.labels, target.labels.new_full((missing,), num_classes)))
            )
        )
    return padded
