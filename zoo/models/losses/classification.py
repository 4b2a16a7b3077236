"""Classification losses: summed, so that the caller divides by what its paper divides by.

All are taken in float32, whatever precision the network ran in.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor


def softmax_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum over rows of -log softmax(logits)[label].

    Args:
        logits: (N, K), one column a class, background included.
        labels: int64 (N,), in [0, K).
    """
    return F.cross_entropy(logits.float(), labels, reduction="sum")


def sigmoid_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of -t log sigmoid(x) - (1 - t) log(1 - sigmoid(x)) over all elements.

    Args:
        logits: of any shape.
        targets: of the same shape, in [0, 1].
    """
    return F.binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="sum")
