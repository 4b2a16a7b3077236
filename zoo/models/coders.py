"""Boxes relative to reference boxes: deltas (Girshick et al., 2014) and distances (Tian et al., 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from zoo.models.boxes import EXCLUSIVE, BoxConvention
from zoo.models.device_constants import constant

LARGEST_GROWTH = math.log(1000 / 16)
"""Where detectors limit the log of a size ratio: no box of an image grows further than from 16 to 1000 pixels."""


class BoxCoder(Protocol):
    """Boxes to four numbers relative to reference boxes, and back."""

    def encode(self, references: Tensor, boxes: Tensor) -> Tensor:
        """Numbers (..., 4) that turn references (..., 4) into boxes (..., 4)."""
        ...

    def decode(self, references: Tensor, deltas: Tensor) -> Tensor:
        """Boxes (..., 4) from references (..., 4) and numbers (..., 4); not clipped to any image."""
        ...


class DeltaCoder:
    """(dx, dy, dw, dh): centre shift in units of the reference's size, and log of the size ratio.

    Args:
        stds: what each delta is divided by when encoded, so that all four are of similar size.
        min_growth: dw and dh are raised to it when decoded; None for no limit below.
        max_growth: dw and dh are cut to it when decoded; None for no limit above.
        convention: of references and boxes.
        decoded: convention by which a decoded box is put around its centre, where that is another: faster-rcnn.pytorch
            takes sizes and centres inclusively, and leaves out the -1 at the far corner.
    """

    def __init__(
        self,
        stds: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        min_growth: float | None = -LARGEST_GROWTH,
        max_growth: float | None = LARGEST_GROWTH,
        convention: BoxConvention = EXCLUSIVE,
        decoded: BoxConvention | None = None,
    ) -> None:
        self.stds = tuple(stds)
        self.scales = any(std != 1 for std in self.stds)
        self.min_growth = min_growth
        self.max_growth = max_growth
        self.convention = convention
        self.decoded = decoded or convention

    def encode(self, references: Tensor, boxes: Tensor) -> Tensor:
        """Deltas (N, 4) that turn references (N, 4) into boxes (N, 4)."""
        reference_centre, reference_size = self.convention.centre_size(references)
        centre, size = self.convention.centre_size(boxes)
        shift = (centre - reference_centre) / reference_size
        growth = (size / reference_size).log()
        deltas = torch.cat((shift, growth), dim=-1)
        return deltas / constant(self.stds, deltas.dtype, deltas.device) if self.scales else deltas

    def decode(self, references: Tensor, deltas: Tensor) -> Tensor:
        """Boxes (..., 4) from references (..., 4) and deltas (..., 4); not clipped to any image.

        dw and dh are limited, dx and dy are not.
        """
        if self.scales:
            deltas = deltas * constant(self.stds, deltas.dtype, deltas.device)
        centre, size = self.convention.centre_size(references)
        centre = centre + size * deltas[..., :2]
        growth = deltas[..., 2:]
        if self.min_growth is not None or self.max_growth is not None:
            growth = growth.clamp(self.min_growth, self.max_growth)
        return self.decoded.corners(centre, size * growth.exp())


class DistanceCoder:
    """(left, top, right, bottom): from the reference's centre to the box's sides (Tian et al., "FCOS", 2019).

    In units of the reference's width and height; all four are positive where the centre lies inside the box.
    """

    def encode(self, references: Tensor, boxes: Tensor) -> Tensor:
        """Distances (..., 4) from the centres of references (..., 4) to the sides of boxes (..., 4)."""
        centre, size = EXCLUSIVE.centre_size(references)
        return torch.cat(((centre - boxes[..., :2]) / size, (boxes[..., 2:] - centre) / size), dim=-1)

    def decode(self, references: Tensor, deltas: Tensor) -> Tensor:
        """Boxes (..., 4) at distances (..., 4) about the centres of references (..., 4); not clipped to any image."""
        centre, size = EXCLUSIVE.centre_size(references)
        return torch.cat((centre - deltas[..., :2] * size, centre + deltas[..., 2:] * size), dim=-1)
