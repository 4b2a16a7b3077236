"""Classification losses: summed, so that the caller divides by what its paper divides by.

All are taken in float32, whatever precision the network ran in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor


class ClassLoss(Protocol):
    """A loss of a head's class logits, a choice of the composition."""

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The sum over all elements.

        Args:
            logits: (N, K), one column an object class; (N, K + 1) where background has a column too, the last.
            labels: int64 (N,), in [0, K]; K is background.
        """
        ...


@dataclass(frozen=True, slots=True)
class FocalLoss:
    """`sigmoid_focal_loss` with its two parameters."""

    alpha: float = 0.25
    gamma: float = 2.0

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        return sigmoid_focal_loss(logits, labels, self.alpha, self.gamma)


@dataclass(frozen=True, slots=True)
class SoftmaxCrossEntropyLoss:
    """`softmax_cross_entropy` over object classes and background, which has the last column."""

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        return softmax_cross_entropy(logits, labels)


@dataclass(frozen=True, slots=True)
class CrossEntropyLoss:
    """`sigmoid_cross_entropy` of every column against whether it is the row's class."""

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        return sigmoid_cross_entropy(logits, own_columns(logits, labels))


def own_columns(logits: Tensor, labels: Tensor) -> Tensor:
    """Bool (N, K): the column of each row's class; none for background, label K."""
    return labels[:, None] == torch.arange(logits.shape[1], device=labels.device)


def softmax_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum over rows of -log softmax(logits)[label].

    Args:
        logits: (N, K), one column a class, background included.
        labels: int64 (N,), in [0, K).
    """
    return F.cross_entropy(logits.float(), labels, reduction="sum")


def sigmoid_focal_loss(logits: Tensor, labels: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Sum of a (1 - q)^gamma (-log q) over all elements (Lin et al., "Focal Loss for Dense Object Detection", 2017).

    q is the probability given to the truth: sigmoid(x), with a = alpha, in the column of the row's
    class, and 1 - sigmoid(x), with a = 1 - alpha, in every other. What is already right hardly counts.

    Args:
        logits: (N, K), one column an object class.
        labels: int64 (N,), in [0, K]; K is background, all columns 0.
        alpha: weight of objects against background.
        gamma: how much less the easy counts.
    """
    logits = logits.float()
    own = own_columns(logits, labels)
    wrong = torch.where(own, -logits, logits)  # sigmoid of it is 1 - q
    weight = torch.where(own, alpha, 1 - alpha) * wrong.sigmoid() ** gamma
    return (weight * F.softplus(wrong)).sum()


def sigmoid_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of -t log sigmoid(x) - (1 - t) log(1 - sigmoid(x)) over all elements.

    Args:
        logits: of any shape.
        targets: of the same shape, in [0, 1].
    """
    return F.binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="sum")
