"""Anchor boxes on the cells of a feature pyramid (Ren et al., 2015)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.types import Size


class AnchorGenerator:
    """Anchors of several aspect ratios and scales, centred on the corner of each cell.

    An anchor of ratio r (height / width) and scale k on a level of stride s is s*k/sqrt(r) wide and
    s*k*sqrt(r) high, not rounded. Order: ratios outside, scales inside.

    Args:
        strides: of each level, in input pixels.
        ratios: height / width.
        scales: of the anchor's side, in units of the stride.
    """

    def __init__(self, strides: Sequence[int], ratios: Sequence[float], scales: Sequence[float]) -> None:
        self.strides = tuple(strides)
        self.per_cell = len(ratios) * len(scales)
        root = torch.tensor(ratios, dtype=torch.float32, device="cpu").sqrt()
        scale = torch.tensor(scales, dtype=torch.float32, device="cpu")
        self._unit_widths = (1 / root)[:, None] * scale[None]  # (ratios, scales)
        self._unit_heights = root[:, None] * scale[None]
        self._grids: dict[tuple[tuple[Size, ...], torch.device], tuple[Tensor, ...]] = {}

    def base(self, stride: int) -> Tensor:
        """The anchors (A, 4) of the cell at the origin."""
        widths = (stride * self._unit_widths).flatten()
        heights = (stride * self._unit_heights).flatten()
        return torch.stack((-widths / 2, -heights / 2, widths / 2, heights / 2), dim=1)

    def grid(self, sizes: Sequence[Size], device: torch.device) -> tuple[Tensor, ...]:
        """All anchors of each level, (H * W * A, 4), for feature maps of these sizes.

        The last few answers are kept: neighbouring images often have equal sizes.
        """
        key = (tuple(sizes), device)
        if key not in self._grids:
            if len(self._grids) >= 8:
                self._grids.pop(next(iter(self._grids)))
            levels = zip(sizes, self.strides, strict=True)
            self._grids[key] = tuple(self._level(size, stride).to(device) for size, stride in levels)
        return self._grids[key]

    def inside(self, sizes: Sequence[Size], padded_size: Size, device: torch.device) -> Tensor:
        """Positions (I,) in the grid, levels one after another, of the anchors whose cell begins within an image.

        Args:
            sizes: (H, W) of each level's feature map; of a batch, which may be larger than the image.
            padded_size: of the image, padded as if it were alone.
            device: of the answer.
        """
        masks = []
        for (height, width), stride in zip(sizes, self.strides, strict=True):
            rows = torch.arange(height, device=device) * stride < padded_size[0]
            columns = torch.arange(width, device=device) * stride < padded_size[1]
            mask = rows[:, None] & columns  # (H, W)
            masks.append(mask.flatten().repeat_interleave(self.per_cell))
        return torch.cat(masks).nonzero()[:, 0]

    def _level(self, size: Size, stride: int) -> Tensor:
        height, width = size
        y, x = torch.meshgrid(
            torch.arange(height, device="cpu") * stride, torch.arange(width, device="cpu") * stride, indexing="ij"
        )
        shifts = torch.stack((x, y, x, y), dim=-1).to(torch.float32)  # (H, W, 4)
        return (shifts[:, :, None] + self.base(stride)).reshape(-1, 4)  # (H, W, A, 4) -> (H * W * A, 4)
