"""Cross-stage partial blocks, of which YOLOv8 is made (Wang et al., "CSPNet", 2019; Ultralytics, 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.models.layers.conv import ConvNorm


def conv_block(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> ConvNorm:
    """Convolution, batch normalisation with Ultralytics' constants, SiLU."""
    return ConvNorm(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        activation=nn.SiLU(inplace=True),
        eps=1e-3,
        momentum=0.03,
    )


class Bottleneck(nn.Module):
    """Two 3x3 of equal width, added to their input where there is a shortcut.

    Args:
        channels: number of channels of input and output.
        shortcut: whether the input is added to the output.
    """

    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.conv1 = conv_block(channels, channels, 3)
        self.conv2 = conv_block(channels, channels, 3)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(self.conv1(x))
        return x + out if self.shortcut else out


class C2f(nn.Module):
    """A chain of bottlenecks beside the features it began with, all of them merged at the end.

    A 1x1 makes two halves. The chain begins with the second, and its every link is kept: the merging
    1x1 sees both halves and each bottleneck's output.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; half of them is the width of the chain.
        blocks: number of bottlenecks in the chain.
        shortcut: whether the bottlenecks add their input.
    """

    def __init__(self, in_channels: int, out_channels: int, blocks: int, shortcut: bool) -> None:
        super().__init__()
        width = out_channels // 2
        self.split = conv_block(in_channels, 2 * width, 1)
        self.blocks = nn.ModuleList(Bottleneck(width, shortcut) for _ in range(blocks))
        self.merge = conv_block((2 + blocks) * width, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        links = list(self.split(x).chunk(2, dim=1))
        for block in self.blocks:
            links.append(block(links[-1]))
        out: Tensor = self.merge(torch.cat(links, dim=1))
        return out


class SPPF(nn.Module):
    """Max-pooling over 5x5, 9x9 and 13x13 as three 5x5 in a row, beside the input.

    Spatial pyramid pooling (He et al., 2014) at stride 1.

    Args:
        channels: number of channels of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = conv_block(channels, channels // 2, 1)
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.merge = conv_block(channels // 2 * 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        scales = [self.reduce(x)]
        for _ in range(3):
            scales.append(self.pool(scales[-1]))
        out: Tensor = self.merge(torch.cat(scales, dim=1))
        return out


def prediction_branch(in_channels: int, width: int, out_channels: int) -> nn.Sequential:
    """Two 3x3 blocks, and a plain 1x1 with a bias."""
    return nn.Sequential(
        conv_block(in_channels, width, 3), conv_block(width, width, 3), nn.Conv2d(width, out_channels, 1)
    )
