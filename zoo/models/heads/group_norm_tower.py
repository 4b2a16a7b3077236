"""Towers of dense heads with group normalisation (Wu and He, "Group Normalization", 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn


class GroupNormTower(nn.Module):
    """Stacked 3x3 convolutions, each with its normalisation and ReLU; the levels share all of them.

    Args:
        in_channels: of every level.
        channels: of every convolution.
        depth: number of convolutions.
        groups: of channels, each normalised by itself.
        bias: whether the convolutions have biases beside those of the normalisations.
    """

    def __init__(self, in_channels: int, channels: int, depth: int, groups: int = 32, bias: bool = False) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(in_channels if i == 0 else channels, channels, 3, padding=1, bias=bias) for i in range(depth)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(groups, channels) for _ in range(depth))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Maps (N, C, H, W) of each level to as many (N, channels, H, W)."""
        hidden = []
        for x in features:
            for conv, norm in zip(self.convs, self.norms, strict=True):
                x = F.relu(norm(conv(x)), inplace=True)
            hidden.append(x)
        return hidden
