"""What the summed losses of a batch are divided by: part of a loss, for no two papers agree on it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Literal

import torch

EPSILON = torch.finfo(torch.float32).eps
"""Added to every divisor by mmdetection."""

DivisorName = Literal["sampled", "sampled_per_image", "sampled_in_last", "positives", "positives_of_batch"]
"""A divisor, as a head's configuration names it."""


def sampled(positives: Sequence[int], negatives: Sequence[int]) -> float:
    """Everything sampled in the batch, at least 1: of the second stage."""
    return max(sum(positives) + sum(negatives), 1) + EPSILON


def sampled_per_image(positives: Sequence[int], negatives: Sequence[int]) -> float:
    """Everything sampled, each image counting for at least one positive and one negative: of the first stage."""
    return sum(max(count, 1) for counts in (positives, negatives) for count in counts) + EPSILON


def sampled_in_last(positives: Sequence[int], negatives: Sequence[int]) -> float:
    """What was sampled in the last image, for each image: of faster-rcnn.pytorch's first stage, by an oversight."""
    return len(positives) * max(positives[-1] + negatives[-1], 1)


def positives(positives: Sequence[int], negatives: Sequence[int]) -> float:  # noqa: ARG001 - others divide by these too
    """The positives, each image counting for at least one: of a single dense stage."""
    return sum(max(count, 1) for count in positives) + EPSILON


def positives_of_batch(positives: Sequence[int], negatives: Sequence[int]) -> float:  # noqa: ARG001 - others divide by these too
    """The positives of the whole batch, at least 1: of FCOS and SSD."""
    return max(sum(positives), 1)


def _fixed(count: int, positives: Sequence[int], negatives: Sequence[int]) -> float:  # noqa: ARG001 - others look at them
    return count * len(positives)


Divisor = Callable[[Sequence[int], Sequence[int]], float]
"""Numbers of positives and of negatives sampled in each image to what the batch's sums are divided by."""

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
