"""What the regions of a second stage are trained to say.

Legend: P regions of one image, O of them positive, G ground-truth boxes of it, K object classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from zoo.models.assigners.max_iou import IGNORED, Matches, MaxIoUAssigner
from zoo.models.samplers import Sampler
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
    proposals: Tensor,
    target: Target,
    assigner: MaxIoUAssigner,
    sampler: Sampler,
    num_classes: int,
    scale: tuple[float, float] = (1.0, 1.0),
    ground_truth: GroundTruth = "first",
) -> RoiTargets:
    """Match and sample the regions of one image.

    The ground-truth boxes are added to the proposals, so that even a first stage that finds nothing gives the
    second something to learn from. A box of label K stands for no object (see `pad_targets`): it is no region itself,
    and one that is matched with it counts as a positive when regions are drawn and is background when they are learned.

    Args:
        proposals: (P, 4), in input pixels.
        target: boxes (G, 4), in input pixels.
        assigner: matches regions with ground-truth boxes.
        sampler: chooses the regions that are trained on.
        num_classes: K.
        scale: (x, y) factors to input pixels from those that boxes are matched and learned in.
        ground_truth: where the ground-truth boxes stand.
    """
    factors = proposals.new_tensor(scale).repeat(2)
    boxes = target.boxes / factors  # (G, 4)
    if ground_truth == "last":
        candidates = torch.cat((proposals, target.boxes))  # (P + G, 4)
        matches = assigner(candidates / factors, boxes)
    else:
        candidates = torch.cat((target.boxes, proposals))  # (G + P, 4)
        may_be_drawn = (target.labels < num_classes) & ~assigner.skipped(boxes)
        matches = _with_ground_truth(assigner(proposals / factors, boxes), may_be_drawn)
    sampled = sampler(matches, target.labels)
    is_object = target.labels[matches.gt_inds[sampled.positive]] < num_classes
    positive = sampled.positive[is_object]
    chosen = torch.cat((positive, sampled.positive[~is_object], sampled.negative))
    matched_gt_inds = matches.gt_inds[positive]
    background = matched_gt_inds.new_full((len(chosen) - len(positive),), num_classes)
    return RoiTargets(
        regions=candidates[chosen],
        labels=torch.cat((target.labels[matched_gt_inds], background)),
        overlaps=matches.overlaps[chosen],
        matched_gt_inds=matched_gt_inds,
        references=candidates[positive] / factors,
        boxes=boxes[matched_gt_inds],
    )


def _with_ground_truth(matches: Matches, may_be_drawn: Tensor) -> Matches:
    """Matches of proposals, (P,), and in front of them the ground-truth boxes, (G,), each with itself."""
    themselves = torch.arange(len(may_be_drawn), device=may_be_drawn.device)
    return Matches(
        torch.cat((themselves.where(may_be_drawn, IGNORED), matches.gt_inds)),
        torch.cat((torch.ones_like(themselves, dtype=matches.overlaps.dtype), matches.overlaps)),
        torch.cat((torch.zeros_like(may_be_drawn), matches.background)),
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
