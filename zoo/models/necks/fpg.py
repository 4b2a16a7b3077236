"""Feature Pyramid Grids (Chen et al., "Feature Pyramid Grids", 2020).

Legend: S pathways, side by side; L levels, fine to coarse.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from zoo.models.layers.conv import ConvNorm
from zoo.types import FeatureSpec


class FPG(nn.Module):
    """A deep grid: every pathway builds the pyramid anew, bottom-up, from its own finer levels and the pathway before.

    A fine level enters the grid late: the triangle of positions before that is left out, and hands on
    the map of the pathway before. Maps must halve exactly from level to level.

    Args:
        in_specs: of the maps it gets, fine to coarse.
        channels: of every map inside and of every output.
        pathways: S.
        levels: L; levels beyond the last map are made from it.
        start: the first so many maps are left out, as RetinaNet leaves out c2.
        extra: how a level beyond the last map is made: "pool" takes every second value, "conv" is
            a 3x3 convolution of stride 2.

    Attributes:
        out_specs: channels and stride of each output.
    """

    def __init__(
        self,
        in_specs: Sequence[FeatureSpec],
        channels: int = 256,
        pathways: int = 9,
        levels: int = 5,
        start: int = 0,
        extra: str = "pool",
    ) -> None:
        super().__init__()
        if extra not in ("pool", "conv"):
            raise ValueError(f"extra: {extra!r} is neither 'pool' nor 'conv'")
        self.start = start
        specs = in_specs[start:]
        self.laterals = nn.ModuleList(nn.Conv2d(spec.channels, channels, 1) for spec in specs)
        self.extras = nn.ModuleList(_extra(channels, extra) for _ in range(levels - len(specs)))
        self.grid = nn.ModuleList(_pathway(s, levels, channels) for s in range(pathways))
        self.outputs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(levels))
        self.out_specs = tuple(FeatureSpec(channels, specs[0].stride * 2**level) for level in range(levels))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1, mode="fan_in")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """(c2, ..., c5) to (p2, ..., p6), or (p3, ..., p7) from c3 on, all with the same number of channels."""
        initial = [lateral(x) for lateral, x in zip(self.laterals, features[self.start :], strict=True)]
        for extra in self.extras:
            initial.append(extra(initial[-1]))
        maps = initial
        for pathway in self.grid:
            maps = _walk(pathway, maps, initial)
        return tuple(conv(F.relu(x)) for conv, x in zip(self.outputs, maps, strict=True))


class GridCell(nn.Module):
    """One map of the grid: the sum of up to four others, each through ReLU, a convolution, a normalisation.

    Args:
        channels: of every map.
        finest: no finer level below it.
        coarsest: no coarser level above it.
    """

    def __init__(self, channels: int, finest: bool, coarsest: bool) -> None:
        super().__init__()
        self.same_up = None if finest else ConvNorm(channels, channels, 3, stride=2)
        self.across_lateral = ConvNorm(channels, channels, 1)
        self.across_down = None if coarsest else ConvNorm(channels, channels, 3)
        self.across_skip = ConvNorm(channels, channels, 1)

    def forward(self, finer: Tensor | None, before: Tensor, coarser: Tensor | None, initial: Tensor) -> Tensor:
        """The cell's map (N, C, H, W).

        Args:
            finer: of this pathway, (N, C, 2H, 2W); None at the finest level.
            before: of the pathway before, (N, C, H, W).
            coarser: of the pathway before, (N, C, H / 2, W / 2); None at the coarsest level.
            initial: of the backbone, (N, C, H, W).
        """
        out: Tensor = self.across_lateral(F.relu(before))
        if self.same_up is not None and finer is not None:
            out = self.same_up(F.relu(finer)) + out
        if self.across_down is not None and coarser is not None:
            out = out + self.across_down(F.relu(F.interpolate(coarser, scale_factor=2, mode="nearest")))
        skip: Tensor = self.across_skip(F.relu(initial))
        return out + skip


def _walk(pathway: nn.Module, before: Sequence[Tensor], initial: Sequence[Tensor]) -> list[Tensor]:
    """The maps of a pathway, fine to coarse, from those of the one before."""
    maps: list[Tensor] = []
    for level, cell in enumerate(pathway.children()):
        if isinstance(cell, nn.Identity):
            maps.append(before[level])
            continue
        finer = maps[-1] if maps else None
        coarser = before[level + 1] if level + 1 < len(before) else None
        maps.append(cell(finer, before[level], coarser, initial[level]))
    return maps


def _pathway(index: int, levels: int, channels: int) -> nn.ModuleList:
    """A cell a level; the identity where the grid's triangle is left out."""
    coarsest = levels - 1
    return nn.ModuleList(
        GridCell(channels, finest=level == 0, coarsest=level == coarsest)
        if index >= coarsest - level
        else nn.Identity()
        for level in range(levels)
    )


def _extra(channels: int, kind: str) -> nn.Module:
    if kind == "pool":
        return nn.MaxPool2d(kernel_size=1, stride=2)
    return nn.Conv2d(channels, channels, 3, stride=2, padding=1)
