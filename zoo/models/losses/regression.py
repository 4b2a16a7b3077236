"""Box regression losses: summed, so that the caller divides by what its paper divides by.

All are taken in float32, whatever precision the network ran in. Boxes are (N, 4), xyxy in input
pixels; deltas are (N, 4) as a `DeltaCoder` encodes them.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from zoo.models.boxes import EXCLUSIVE
from zoo.models.coders import BoxCoder, DeltaCoder
from zoo.models.device_constants import constant

FLOOR = 1e-6
"""Smallest union, enclosing area and IoU: where mmdetection keeps divisions and logarithms finite."""


UNIT_BOX = (-0.5, -0.5, 0.5, 0.5)
"""What deltas are decoded about where only the change counts."""


class BoxLoss(nn.Module):
    """A weighted sum over boxes.

    Args:
        weight: factor of the sum.

    Attributes:
        target_space: what the loss compares: encoded "deltas", decoded "boxes", or "unit_boxes": what the deltas make
            of `UNIT_BOX`, whatever the references are.
    """

    target_space: ClassVar[Literal["deltas", "boxes", "unit_boxes"]]

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of predictions (N, 4), a scalar; 0 for none, still part of the graph.

        Args:
            prediction: (N, 4), deltas or boxes as `target_space` says.
            target: (N, 4), of the same kind; gets no gradient.
        """
        return self.weight * self.unreduced(prediction.float(), target.detach().float()).sum()

    def loss_from_deltas(self, coder: BoxCoder, references: Tensor, deltas: Tensor, boxes: Tensor) -> Tensor:
        """The loss of deltas that are to turn references into boxes, compared as `target_space` says.

        Args:
            coder: of the deltas.
            references: (N, 4), anchors or proposals.
            deltas: (N, 4), predicted.
            boxes: (N, 4), ground truth.
        """
        if self.target_space == "boxes":
            prediction, target = coder.decode(references, deltas.float()), boxes
        else:
            prediction, target = deltas.float(), coder.encode(references, boxes)
        if self.target_space == "unit_boxes":
            prediction, target = (_on_unit_box(coder, each) for each in (prediction, target))
        loss: Tensor = self(prediction, target)
        return loss

    @abstractmethod
    def unreduced(self, prediction: Tensor, target: Tensor) -> Tensor:
        """What is summed: a value a coordinate (N, 4), or a value a box (N,)."""


class L1Loss(BoxLoss):
    """Absolute difference of each delta."""

    target_space = "deltas"

    def unreduced(self, prediction: Tensor, target: Tensor) -> Tensor:
        return (prediction - target).abs()


class SmoothL1Loss(BoxLoss):
    """Quadratic below `beta`, linear above (Girshick, "Fast R-CNN", 2015).

    Args:
        weight: factor of the sum.
        beta: the difference at which the two halves meet.
    """

    target_space = "deltas"

    def __init__(self, weight: float = 1.0, beta: float = 1.0) -> None:
        super().__init__(weight)
        self.beta = beta

    def unreduced(self, prediction: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(prediction, target, reduction="none", beta=self.beta)


class BalancedL1Loss(BoxLoss):
    """Smooth L1 whose gradient grows faster where the difference is small (Pang et al., "Libra R-CNN", 2019).

    Args:
        weight: factor of the sum.
        alpha: how much the small differences are raised; lower raises them more.
        gamma: gradient of the large differences.
        beta: the difference at which the two halves meet.
    """

    target_space = "deltas"

    def __init__(self, weight: float = 1.0, alpha: float = 0.5, gamma: float = 1.5, beta: float = 1.0) -> None:
        super().__init__(weight)
        self.alpha, self.gamma, self.beta = alpha, gamma, beta

    def unreduced(self, prediction: Tensor, target: Tensor) -> Tensor:
        b = math.exp(self.gamma / self.alpha) - 1  # makes the gradients of both halves meet
        difference = (prediction - target).abs()
        scaled = b * difference / self.beta + 1
        small = self.alpha / b * scaled * scaled.log() * self.beta - self.alpha * difference
        large = self.gamma * difference + self.gamma * self.beta / b - self.alpha * self.beta
        return torch.where(difference < self.beta, small, large)


class IoULoss(BoxLoss):
    """-log IoU of each pair (Yu et al., "UnitBox", 2016)."""

    target_space = "boxes"

    def unreduced(self, prediction: Tensor, target: Tensor) -> Tensor:
        intersection, union = _overlap(prediction, target)
        return -(intersection / union).clamp(min=FLOOR).log()


class GIoULoss(BoxLoss):
    """1 - GIoU: also falls where boxes apart come closer (Rezatofighi et al., 2019)."""

    target_space = "boxes"

    def unreduced(self, prediction: Tensor, target: Tensor) -> Tensor:
        intersection, union = _overlap(prediction, target)
        top_left = torch.minimum(prediction[:, :2], target[:, :2])
        bottom_right = torch.maximum(prediction[:, 2:], target[:, 2:])
        enclosing = (bottom_right - top_left).prod(dim=1).clamp(min=FLOOR)
        return 1 - intersection / union + (enclosing - union) / enclosing


class CompleteIoULoss(BoxLoss):
    """1 - CIoU (Zheng et al., "Distance-IoU Loss", 2020), taken of unit boxes as PaddleDetection does.

    Args:
        weight: factor of the sum.
        epsilon: what keeps divisions finite.
        mean: the sum is divided by the number of boxes.
    """

    target_space = "unit_boxes"

    def __init__(self, weight: float = 1.0, epsilon: float = 1e-10, mean: bool = False) -> None:
        super().__init__(weight)
        self.epsilon = epsilon
        self.mean = mean

    def unreduced(self, prediction: Tensor, target: Tensor) -> Tensor:
        losses = 1 - complete_iou(prediction, target, self.epsilon)
        return losses / max(len(losses), 1) if self.mean else losses


class BoundedIoULoss(BoxLoss):
    """An upper bound of the IoU a coordinate, the others being right (Tychsen-Smith and Petersson, 2018).

    Args:
        weight: factor of the sum.
        beta: below it the loss of a coordinate, 1 - bound, is made quadratic as in smooth L1.
        epsilon: pixels added to each divisor.
    """

    target_space = "boxes"

    def __init__(self, weight: float = 1.0, beta: float = 0.2, epsilon: float = 1e-3) -> None:
        super().__init__(weight)
        self.beta = beta
        self.epsilon = epsilon

    def unreduced(self, prediction: Tensor, target: Tensor) -> Tensor:
        size, target_size = (box[:, 2:] - box[:, :2] for box in (prediction, target))  # (N, 2) each
        offset = (target[:, :2] + target[:, 2:] - prediction[:, :2] - prediction[:, 2:]).abs()  # twice the centres'
        shift_bound = ((target_size - offset) / (target_size + offset + self.epsilon)).clamp(min=0)
        size_bound = torch.minimum(target_size / (size + self.epsilon), size / (target_size + self.epsilon))
        losses = 1 - torch.cat((shift_bound, size_bound), dim=1)  # (N, 4)
        return F.smooth_l1_loss(losses, torch.zeros_like(losses), reduction="none", beta=self.beta)


def _on_unit_box(coder: BoxCoder, deltas: Tensor) -> Tensor:
    """Boxes (N, 4) that deltas (N, 4) of a coder make of `UNIT_BOX`; sizes are limited above only."""
    if not isinstance(coder, DeltaCoder):
        raise TypeError(f"unit boxes are made of deltas, and not by a {type(coder).__name__}")
    about = DeltaCoder(coder.stds, min_growth=None)
    return about.decode(constant(UNIT_BOX, deltas.dtype, deltas.device).expand_as(deltas), deltas)


def _overlap(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection (N,) and union (N,), at least FLOOR, of each box (N, 4) with its other."""
    top_left = torch.maximum(boxes[:, :2], others[:, :2])
    bottom_right = torch.minimum(boxes[:, 2:], others[:, 2:])
    intersection = (bottom_right - top_left).clamp(min=0).prod(dim=1)
    return intersection, (EXCLUSIVE.area(boxes) + EXCLUSIVE.area(others) - intersection).clamp(min=FLOOR)


def complete_iou(boxes: Tensor, others: Tensor, epsilon: float = 1e-7) -> Tensor:
    """CIoU: the IoU less what centres and aspect ratios differ by (Zheng et al., "Distance-IoU Loss", 2020).

    Where epsilon goes follows Ultralytics: into heights, union and enclosing diagonal. The weight of the
    aspect ratios gets no gradient.

    Args:
        boxes: (..., 4), xyxy.
        others: (..., 4), of a shape that broadcasts with it.
        epsilon: what keeps divisions finite.

    Returns:
        (...), at most 1, and below 0 for boxes far apart.
    """
    top_left = torch.maximum(boxes[..., :2], others[..., :2])
    bottom_right = torch.minimum(boxes[..., 2:], others[..., 2:])
    intersection = (bottom_right - top_left).clamp(min=0).prod(dim=-1)
    width, height = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1] + epsilon
    other_width, other_height = others[..., 2] - others[..., 0], others[..., 3] - others[..., 1] + epsilon
    iou = intersection / (width * height + other_width * other_height - intersection + epsilon)
    enclosing = torch.maximum(boxes[..., 2:], others[..., 2:]) - torch.minimum(boxes[..., :2], others[..., :2])
    offset = (others[..., :2] + others[..., 2:] - boxes[..., :2] - boxes[..., 2:]) / 2
    distance = offset.square().sum(dim=-1) / (enclosing.square().sum(dim=-1) + epsilon)
    angle = torch.atan(other_width / other_height) - torch.atan(width / height)
    aspect = 4 / math.pi**2 * angle.square()
    with torch.no_grad():
        weight = aspect / (1 - iou + aspect + epsilon)
    return iou - distance - aspect * weight


def distribution_focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy with the two whole numbers about each target (Li et al., "Generalized Focal Loss", 2020).

    Args:
        logits: (N, 4, B), over the whole numbers 0 to B - 1, a distribution a side.
        targets: (N, 4), clamped to [0, B - 1.01].

    Returns:
        (N,), the mean over the sides.
    """
    targets = targets.detach().clamp(0, logits.shape[2] - 1 - 0.01)
    low = targets.floor().long()  # (N, 4)
    share = low + 1 - targets  # of the lower number
    both = torch.stack((low, low + 1), dim=2)  # (N, 4, 2)
    losses = -logits.float().log_softmax(dim=2).gather(2, both)
    return (losses * torch.stack((share, 1 - share), dim=2)).sum(dim=2).mean(dim=1)
