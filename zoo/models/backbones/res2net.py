"""The 3x3 of Res2Net (Gao et al., "Res2Net: A New Multi-scale Backbone Architecture", 2019).

A Res2Net of width w and s scales is a ResNet whose bottlenecks are s * w channels wide in their first stage and
have this in the place of their 3x3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.models.layers.conv import ConvNorm


class MultiScaleConv3x3(nn.Module):
    """Channels in equal splits: each but the last through a 3x3 of its own, which also sees what the one before gave.

    Where the size is halved no 3x3 sees the result of another, and the last split is averaged in windows of 3x3.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, as many.
        stride: of every 3x3.
        dilation: of every 3x3.
        groups: of every 3x3.
        scales: number of splits.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, dilation: int, groups: int, scales: int = 4
    ) -> None:
        super().__init__()
        if in_channels != out_channels or in_channels % scales:
            raise ValueError(f"{in_channels} channels to {out_channels} are no {scales} equal splits")
        self.width = in_channels // scales
        self.hierarchical = stride == 1
        self.convs = nn.ModuleList(
            ConvNorm(
                self.width,
                self.width,
                3,
                stride=stride,
                dilation=dilation,
                groups=groups,
                activation=nn.ReLU(inplace=True),
            )
            for _ in range(scales - 1)
        )
        # A window at the border averages what it has: padding is not counted.
        self.last = nn.Identity() if stride == 1 else nn.AvgPool2d(3, stride=stride, padding=1, count_include_pad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, C, H / stride, W / stride)."""
        *splits, last = torch.split(x, self.width, dim=1)
        outputs: list[Tensor] = []
        for conv, split in zip(self.convs, splits, strict=True):
            outputs.append(conv(split + outputs[-1] if outputs and self.hierarchical else split))
        return torch.cat((*outputs, self.last(last)), dim=1)
