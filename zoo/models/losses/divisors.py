"""What the summed losses of a batch are divided by: part of a loss, for no two papers agree on it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

EPSILON = torch.finfo(torch.float32).eps
"""Added to every divisor by mmdetection."""

DivisorName = Literal["sampled", "sampled_per_image", "sampled_in_last", "positives", "positives_of_batch"]
"""A divisor, as a head's configuration names it."""


def sampled(positives: Tensor, negatives: Tensor) -> float:
    """Everything sampled in the batch, at least 1: of the second stage."""
    return max(int((positives + negatives).sum()), 1) + EPSILON


def sampled_per_image(positives: Tensor, negatives: Tensor) -> float:
    """Everything sampled, each image counting for at least one positive and one negative: of the first stage."""
    return int(positives.clamp(min=1).sum()) + int(negatives.clamp(min=1).sum()) + EPSILON


def sampled_in_last(positives: Tensor, negatives: Tensor) -> float:
    """What was sampled in the last image, for each image: of faster-rcnn.pytorch's first stage, by an oversight."""
    return len(positives) * max(int(positives[-1] + negatives[-1]), 1)


def positives(positives: Tensor, negatives: Tensor) -> float:  # noqa: ARG001 - others divide by these too
    """The positives, each image counting for at least one: of a single dense stage."""
    return int(positives.clamp(min=1).sum()) + EPSILON


def positives_of_batch(positives: Tensor, negatives: Tensor) -> float:  # noqa: ARG001 - others divide by these too
    """The positives of the whole batch, at least 1: of FCOS and SSD."""
    return max(int(positives.sum()), 1)


def _fixed(count: int, positives: Tensor, negatives: Tensor) -> float:  # noqa: ARG001 - others look at them
    return count * len(positives)


Divisor = Callable[[Tensor, Tensor], float]
"""Numbers of positives (N,) and negatives (N,) sampled in each image to what the batch's sums are divided by."""

DIVISORS: dict[DivisorName, Divisor] = {
    "sampled": sampled,
    "sampled_per_image": sampled_per_image,
    "sampled_in_last": sampled_in_last,
    "positives": positives,
    "positives_of_batch": positives_of_batch,
}
"""The divisors that exist, by name."""


def find_divisor(name: DivisorName | int) -> Divisor:
    """The divisor of a name; a number is so many an image, whatever was sampled.

    Raises:
        ValueError: there is none.
    """
    if isinstance(name, int):
        return functools.partial(_fixed, name)
    if name not in DIVISORS:
        raise ValueError(f"divisor: {name!r}, known are {', '.join(DIVISORS)}")
    return DIVISORS[name]
