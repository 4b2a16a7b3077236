"""Boxes as deltas relative to reference boxes (Girshick et al., 2014)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

LOG_SIZE_LIMIT = abs(math.log(16 / 1000))
"""Decoded boxes grow or shrink by at most this much in log size."""


class DeltaCoder:
    """(dx, dy, dw, dh): centre shift in units of the reference's size, and log of the size ratio.

    Args:
        stds: what each delta is divided by when encoded, so that all four are of similar size.
    """

    def __init__(self, stds: Sequence[float] = (1.0, 1.0, 1.0, 1.0)) -> None:
        self.stds = tuple(stds)

    def encode(self, references: Tensor, boxes: Tensor) -> Tensor:
        """Deltas (N, 4) that turn references (N, 4) into boxes (N, 4)."""
        reference_centre, reference_size = _centre_size(references)
        centre, size = _centre_size(boxes)
        shift = (centre - reference_centre) / reference_size
        growth = (size / reference_size).log()
        return torch.cat((shift, growth), dim=-1) / references.new_tensor(self.stds)

    def decode(self, references: Tensor, deltas: Tensor) -> Tensor:
        """Boxes (..., 4) from references (..., 4) and deltas (..., 4); not clipped to any image.

        dw and dh are limited on both sides, dx and dy are not.
        """
        deltas = deltas * deltas.new_tensor(self.stds)
        centre, size = _centre_size(references)
        centre = centre + size * deltas[..., :2]
        size = size * deltas[..., 2:].clamp(-LOG_SIZE_LIMIT, LOG_SIZE_LIMIT).exp()
        return torch.cat((centre - size * 0.5, centre + size * 0.5), dim=-1)


def _centre_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Centres (..., 2) and sizes (..., 2) of boxes (..., 4)."""
    top_left, bottom_right = boxes[..., :2], boxes[..., 2:]
    return (top_left + bottom_right) * 0.5, bottom_right - top_left
