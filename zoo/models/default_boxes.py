"""SSD's default boxes (Liu et al., "SSD: Single Shot MultiBox Detector", 2016).

Legend: L levels, A boxes a cell of one of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.types import Size


class DefaultBoxes:
    """Boxes about the middle of each cell, of sizes that are shares of the input's height and width.

    A cell of level k has a square of scale s(k), one of scale sqrt(s(k) s(k+1)), and for each ratio r two boxes of area
    s(k)^2, one r times as wide as high, one r times as high as wide. No box is larger than the input, but those near
    its border reach beyond it.

    Args:
        ratios: of each level, fine to coarse.
        scales: of each level, and one more.
        steps: pixels from cell to cell of each level; None: as many as lay the cells over the input without rest.

    Attributes:
        per_cell: number of boxes of a cell of each level.

    Raises:
        ValueError: the levels of one do not go with those of another.
    """

    def __init__(
        self, ratios: Sequence[Sequence[float]], scales: Sequence[float], steps: Sequence[float] | None = None
    ) -> None:
        if len(scales) != len(ratios) + 1 or (steps is not None and len(steps) != len(ratios)):
            given = f"{len(scales)} scales" + ("" if steps is None else f" and {len(steps)} steps")
            raise ValueError(f"ratios of {len(ratios)} levels do not go with {given}")
        self.steps = None if steps is None else tuple(steps)
        self.per_cell = tuple(2 + 2 * len(level) for level in ratios)
        self._sides = [_sides(*level) for level in zip(ratios, scales[:-1], scales[1:], strict=True)]
        self._grids: dict[tuple[tuple[Size, ...], Size, torch.device], tuple[Tensor, ...]] = {}

    def grid(self, cells: Sequence[Size], input_shape: Size, device: torch.device) -> tuple[Tensor, ...]:
        """All boxes of each level, (H * W * A, 4). The last answer is kept: inputs are usually of one size.

        Args:
            cells: (H, W) of each level's feature map.
            input_shape: (height, width) of the input.
            device: of the answer.

        Raises:
            ValueError: there are more or fewer levels than there are ratios for.
        """
        if len(cells) != len(self.per_cell):
            raise ValueError(f"ratios: {len(self.per_cell)} levels have some, and the pyramid has {len(cells)}")
        key = (tuple(cells), input_shape, device)
        if key not in self._grids:
            boxes = tuple(self._level(level, size, input_shape).to(device) for level, size in enumerate(cells))
            self._grids = {key: boxes}
        return self._grids[key]

    def _level(self, level: int, cells: Size, input_shape: Size) -> Tensor:
        counts = cells if self.steps is None else tuple(side / self.steps[level] for side in input_shape)
        rows, columns = (
            (torch.arange(number, device="cpu") + 0.5) / count for number, count in zip(cells, counts, strict=True)
        )
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        centres = torch.stack((x, y), dim=-1)[:, :, None]  # (H, W, 1, 2), in shares of the input
        half = 0.5 * self._sides[level]  # (A, 2)
        size = torch.tensor(input_shape[::-1], dtype=torch.float32, device="cpu")
        corners = torch.cat(((centres - half) * size, (centres + half) * size), dim=-1)  # (H, W, A, 4)
        return corners.reshape(-1, 4)


def _sides(ratios: Sequence[float], scale: float, next_scale: float) -> Tensor:
    """Widths and heights (A, 2) of a cell's boxes, in shares of the input."""
    between = math.sqrt(scale * next_scale)
    sides = [(scale, scale), (between, between)]
    for ratio in ratios:
        long, short = scale * math.sqrt(ratio), scale / math.sqrt(ratio)
        sides += [(long, short), (short, long)]
    return torch.tensor(sides, dtype=torch.float32, device="cpu").clamp(0, 1)
