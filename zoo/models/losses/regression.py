"""Box regression losses: summed, so that the caller divides by what its paper divides by.

All are taken in float32, whatever precision the network ran in. Boxes are (N, 4), xyxy in input
pixels; deltas are (N, 4) as a `DeltaCoder` encodes them.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from zoo.models.boxes import area

FLOOR = 1e-6
"""Smallest union, enclosing area and IoU: where mmdetection keeps divisions and logarithms finite."""


class BoxLoss(nn.Module):
    """A weighted sum over boxes.

    Args:
        weight: factor of the sum.

    Attributes:
        on: what the loss compares: encoded "deltas", or decoded "boxes".
    """

    on: ClassVar[Literal["deltas", "boxes"]]

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of predictions (N, 4), a scalar; 0 for none, still part of the graph.

        Args:
            prediction: (N, 4), deltas or boxes as `on` says.
            target: (N, 4), likewise; gets no gradient.
        """
        return self.weight * self.terms(prediction.float(), target.detach().float()).sum()

    @abstractmethod
    def terms(self, prediction: Tensor, target: Tensor) -> Tensor:
        """What is summed: a value a coordinate (N, 4), or a value a box (N,)."""


class L1Loss(BoxLoss):
    """Absolute difference of each delta."""

    on = "deltas"

    def terms(self, prediction: Tensor, target: Tensor) -> Tensor:
        return (prediction - target).abs()


class SmoothL1Loss(BoxLoss):
    """Quadratic below `beta`, linear above (Girshick, "Fast R-CNN", 2015).

    Args:
        weight: factor of the sum.
        beta: the difference at which the two halves meet.
    """

    on = "deltas"

    def __init__(self, weight: float = 1.0, beta: float = 1.0) -> None:
        super().__init__(weight)
        self.beta = beta

    def terms(self, prediction: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(prediction, target, reduction="none", beta=self.beta)


class IoULoss(BoxLoss):
    """-log IoU of each pair (Yu et al., "UnitBox", 2016)."""

    on = "boxes"

    def terms(self, prediction: Tensor, target: Tensor) -> Tensor:
        intersection, union = _overlap(prediction, target)
        return -(intersection / union).clamp(min=FLOOR).log()


class GIoULoss(BoxLoss):
    """1 - GIoU: also falls where boxes apart come closer (Rezatofighi et al., 2019)."""

    on = "boxes"

    def terms(self, prediction: Tensor, target: Tensor) -> Tensor:
        intersection, union = _overlap(prediction, target)
        top_left = torch.minimum(prediction[:, :2], target[:, :2])
        bottom_right = torch.maximum(prediction[:, 2:], target[:, 2:])
        enclosing = (bottom_right - top_left).prod(dim=1).clamp(min=FLOOR)
        return 1 - intersection / union + (enclosing - union) / enclosing


class BoundedIoULoss(BoxLoss):
    """An upper bound of the IoU a coordinate, the others being right (Tychsen-Smith and Petersson, 2018).

    Args:
        weight: factor of the sum.
        beta: below it the loss of a coordinate, 1 - bound, is made quadratic as in smooth L1.
        epsilon: pixels added to each divisor.
    """

    on = "boxes"

    def __init__(self, weight: float = 1.0, beta: float = 0.2, epsilon: float = 1e-3) -> None:
        super().__init__(weight)
        self.beta = beta
        self.epsilon = epsilon

    def terms(self, prediction: Tensor, target: Tensor) -> Tensor:
        size, target_size = (box[:, 2:] - box[:, :2] for box in (prediction, target))  # (N, 2) each
        offset = (target[:, :2] + target[:, 2:] - prediction[:, :2] - prediction[:, 2:]).abs()  # twice the centres'
        shift_bound = ((target_size - offset) / (target_size + offset + self.epsilon)).clamp(min=0)
        size_bound = torch.minimum(target_size / (size + self.epsilon), size / (target_size + self.epsilon))
        losses = 1 - torch.cat((shift_bound, size_bound), dim=1)  # (N, 4)
        return F.smooth_l1_loss(losses, torch.zeros_like(losses), reduction="none", beta=self.beta)


def _overlap(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection (N,) and union (N,), at least FLOOR, of each box (N, 4) with its other."""
    top_left = torch.maximum(boxes[:, :2], others[:, :2])
    bottom_right = torch.minimum(boxes[:, 2:], others[:, 2:])
    intersection = (bottom_right - top_left).clamp(min=0).prod(dim=1)
    return intersection, (area(boxes) + area(others) - intersection).clamp(min=FLOOR)
