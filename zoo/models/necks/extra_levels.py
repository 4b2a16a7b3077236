"""Levels of a pyramid beyond the coarsest map of its backbone."""

from __future__ import annotations

from typing import Literal, get_args

import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from zoo.models.layers.init import init_uniform

Source = Literal["output", "input"]
"""What the first extra level is made of: the pyramid's coarsest output, or the backbone's map below it."""


class SubsampledLevel(nn.Module):
    """One level: every second value of the coarsest output.

    Args:
        in_channels: of the backbone's coarsest map.
        channels: of every output.

    Attributes:
        count: how many levels there are.
    """

    count = 1

    def __init__(self, in_channels: int, channels: int) -> None:  # noqa: ARG002 - others convolve
        super().__init__()

    def forward(self, coarsest: Tensor, feature: Tensor) -> tuple[Tensor, ...]:  # noqa: ARG002 - others look at it
        """The coarsest output (N, C, H, W), and the backbone's map it is of, to (N, C, H / 2, W / 2)."""
        return (F.max_pool2d(coarsest, kernel_size=1, stride=2),)


class ConvLevels(nn.Module):
    """Two levels, each by a 3x3 of stride 2: p6, and p7 of p6 through ReLU (Lin et al., "Focal Loss", 2017).

    Args:
        in_channels: of the backbone's coarsest map.
        channels: of every output.
        source: what p6 is made of.

    Attributes:
        count: how many levels there are.
    """

    count = 2

    def __init__(self, in_channels: int, channels: int, source: Source = "input") -> None:
        super().__init__()
        if source not in get_args(Source):
            raise ValueError(f"source: {source!r} is none of {', '.join(get_args(Source))}")
        self.source = source
        self.p6 = nn.Conv2d(in_channels if source == "input" else channels, channels, 3, stride=2, padding=1)
        self.p7 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        for conv in (self.p6, self.p7):
            init_uniform(conv.weight, "lecun")
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type] # these convolutions have a bias

    def forward(self, coarsest: Tensor, feature: Tensor) -> tuple[Tensor, ...]:
        """The coarsest output (N, C, H, W), and the backbone's map it is of, to (N, C, H / 2, W / 2) and a quarter."""
        p6 = self.p6(feature if self.source == "input" else coarsest)
        return p6, self.p7(F.relu(p6))
