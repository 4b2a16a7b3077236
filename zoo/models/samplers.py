"""Samplers: which of the assigned candidates a step is trained on.

Matches are int64 (N,) as an assigner gives them: the index of a ground-truth box, or negative, or ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from zoo.models.assigners.max_iou import NEGATIVE


@dataclass(frozen=True, slots=True)
class Sampled:
    """Positions of the sampled candidates, ascending.

    Attributes:
        positive: int64 (P,), objects.
        negative: int64 (Q,), background.
    """

    positive: Tensor
    negative: Tensor


class Sampler(Protocol):
    """Matches to the candidates that are trained on."""

    def __call__(self, matches: Tensor) -> Sampled: ...


class AllSampler:
    """Every positive and every negative."""

    def __call__(self, matches: Tensor) -> Sampled:
        """Sample from matches (N,)."""
        return Sampled(positive=_where(matches >= 0), negative=_where(matches == NEGATIVE))


class RandomSampler:
    """A fixed number, positives up to a fraction of it, negatives for the rest (Girshick, 2015).

    Drawn without replacement from torch's global generator, of the device the matches are on.

    Args:
        num_samples: candidates an image; fewer where there are fewer.
        positive_fraction: largest fraction of positives.
    """

    def __init__(self, num_samples: int, positive_fraction: float) -> None:
        self.num_samples = num_samples
        self.max_positives = int(num_samples * positive_fraction)

    def __call__(self, matches: Tensor) -> Sampled:
        """Sample from matches (N,)."""
        positive = _draw(_where(matches >= 0), self.max_positives)
        negative = _draw(_where(matches == NEGATIVE), self.num_samples - len(positive))
        return Sampled(positive, negative)


def _where(mask: Tensor) -> Tensor:
    return mask.nonzero()[:, 0]


def _draw(indices: Tensor, max_count: int) -> Tensor:
    """At most so many of indices (N,), in their order."""
    if len(indices) <= max_count:
        return indices
    return indices[torch.randperm(len(indices), device=indices.device)[:max_count]].sort().values
