"""Anchor boxes on the cells of a feature pyramid (Ren et al., 2015)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from zoo.types import Size

Order = Literal["ratio_major", "size_major"]
"""Which of an anchor's two numbers changes last along the anchors of a cell."""


class Anchors(ABC):
    """Anchors of several aspect ratios and sizes on every cell. Strides come from the maps that they lie on.

    Attributes:
        per_cell: number of anchors of a cell.
    """

    per_cell: int

    def __init__(self) -> None:
        self._grids: dict[tuple[tuple[Size, ...], tuple[int, ...], torch.device], tuple[Tensor, ...]] = {}

    @abstractmethod
    def base(self, stride: int) -> Tensor:
        """The anchors (A, 4) of the cell at the origin of a map of this stride."""

    def grid(self, cells: Sequence[Size], strides: Sequence[int], device: torch.device) -> tuple[Tensor, ...]:
        """All anchors of each level, (H * W * A, 4).

        The last few answers are kept: neighbouring images often have equal sizes.

        Args:
            cells: (H, W) of each level's feature map.
            strides: of each level, in input pixels.
            device: of the answer.
        """
        key = (tuple(cells), tuple(strides), device)
        if key not in self._grids:
            if len(self._grids) >= 8:
                self._grids.pop(next(iter(self._grids)))
            levels = zip(cells, strides, strict=True)
            self._grids[key] = tuple(self._level(size, stride).to(device) for size, stride in levels)
        return self._grids[key]

    def _level(self, size: Size, stride: int) -> Tensor:
        height, width = size
        y, x = torch.meshgrid(
            torch.arange(height, device="cpu") * stride, torch.arange(width, device="cpu") * stride, indexing="ij"
        )
        shifts = torch.stack((x, y, x, y), dim=-1).to(torch.float32)  # (H, W, 4)
        return (shifts[:, :, None] + self.base(stride)).reshape(-1, 4)  # (H, W, A, 4) -> (H * W * A, 4)


class CentredAnchors(Anchors):
    """Anchors centred on the corner of each cell, not rounded.

    An anchor of ratio r (height / width) and scale k on a level of stride s is s*k/sqrt(r) wide and
    s*k*sqrt(r) high.

    Args:
        ratios: height / width.
        scales: of the anchor's side, in units of the stride.
        order: "ratio_major": the anchors of one ratio follow each other; "size_major": those of one scale.
    """

    def __init__(self, ratios: Sequence[float], scales: Sequence[float], order: Order = "ratio_major") -> None:
        super().__init__()
        self.per_cell = len(ratios) * len(scales)
        root = torch.tensor(ratios, dtype=torch.float32, device="cpu").sqrt()
        scale = torch.tensor(scales, dtype=torch.float32, device="cpu")
        self._unit_widths = _flat((1 / root)[:, None] * scale[None], order)  # (ratios, scales) -> (A,)
        self._unit_heights = _flat(root[:, None] * scale[None], order)

    def base(self, stride: int) -> Tensor:
        """The anchors (A, 4) of the cell at the origin."""
        widths = stride * self._unit_widths
        heights = stride * self._unit_heights
        return torch.stack((-widths / 2, -heights / 2, widths / 2, heights / 2), dim=1)


class RoundedAnchors(Anchors):
    """Anchors about the middle of each cell, inclusive, their smallest sides rounded to whole pixels.

    What Ren et al. published in 2015, faster-rcnn.pytorch and PaddleDetection's first zoos: the width of ratio r
    is round(stride / sqrt(r)), the height round(width * r), both then multiplied by the scale.

    Args:
        ratios: height / width.
        scales: of the anchor's side, in units of the stride.
        rounding: of halves: "even", as numpy does, or "away", from zero, as C does.
        order: "ratio_major": the anchors of one ratio follow each other; "size_major": those of one scale.
    """

    def __init__(
        self,
        ratios: Sequence[float],
        scales: Sequence[float],
        rounding: Literal["even", "away"],
        order: Order = "ratio_major",
    ) -> None:
        super().__init__()
        if rounding not in ("even", "away"):
            raise ValueError(f"rounding: {rounding!r} is neither 'even' nor 'away'")
        self.per_cell = len(ratios) * len(scales)
        self.ratios = tuple(ratios)
        self.scales = torch.tensor(scales, dtype=torch.float32, device="cpu")
        self.round = round if rounding == "even" else _round_away
        self.order = order

    def base(self, stride: int) -> Tensor:
        """The anchors (A, 4) of the cell at the origin."""
        widths = [self.round(math.sqrt(stride * stride / ratio)) for ratio in self.ratios]
        heights = [self.round(width * ratio) for width, ratio in zip(widths, self.ratios, strict=True)]
        sides = torch.tensor((widths, heights), dtype=torch.float32, device="cpu")  # (2, ratios)
        width, height = (_flat(side[:, None] * self.scales, self.order) for side in sides)  # (A,) each
        middle, x, y = 0.5 * (stride - 1), 0.5 * (width - 1), 0.5 * (height - 1)
        return torch.stack((middle - x, middle - y, middle + x, middle + y), dim=1)


def cells_within(cells: Sequence[Size], strides: Sequence[int], size: Size, device: torch.device) -> Tensor:
    """Which cells of all levels, one after another, begin within a size: bool (cells,).

    Args:
        cells: (H, W) of each level's feature map; of a batch, which may be larger than an image.
        strides: of each level, in input pixels.
        size: in input pixels.
        device: of the answer.
    """
    masks = []
    for (height, width), stride in zip(cells, strides, strict=True):
        rows = torch.arange(height, device=device) * stride < size[0]
        columns = torch.arange(width, device=device) * stride < size[1]
        masks.append((rows[:, None] & columns).flatten())  # (H, W) -> (H * W,)
    return torch.cat(masks)


def _flat(values: Tensor, order: Order) -> Tensor:
    """Values (ratios, scales) of the anchors of a cell in their order."""
    if order not in ("ratio_major", "size_major"):
        raise ValueError(f"order: {order!r} is neither 'ratio_major' nor 'size_major'")
    return (values if order == "ratio_major" else values.t()).flatten()


def _round_away(value: float) -> int:
    return math.floor(value + 0.5)
