"""Modulated deformable convolution (Zhu et al., "Deformable ConvNets v2", 2018)."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from zoo.models.layers.conv import ConvNorm

TAPS = 9
"""Samples of a 3x3 kernel."""


class DeformConvNorm(ConvNorm):
    """A 3x3 whose samples are moved and weighted by what a second 3x3 says of the same input; then normalised.

    The second gives 27 values a place: for every sample of the kernel, row by row, how far it is moved, dy and dx in
    cells, and after those 18 a weight each, through a sigmoid.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: of both convolutions.
        dilation: distance of the kernel's samples before they are moved.
        groups: of channels, each convolved by itself; all are moved alike.
        activation: applied last; None for none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, 3, stride=stride, dilation=dilation, groups=groups, activation=activation
        )
        self.conv_offset = nn.Conv2d(in_channels, 3 * TAPS, 3, stride=stride, padding=dilation, dilation=dilation)
        nn.init.zeros_(self.conv_offset.weight)
        nn.init.zeros_(self.conv_offset.bias)  # type: ignore[arg-type] # this convolution has a bias

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, C', H / stride, W / stride)."""
        moves = self.conv_offset(x)
        conv = self.conv
        out: Tensor = deform_conv2d(
            x,
            moves[:, : 2 * TAPS].contiguous(),
            conv.weight,
            conv.bias,  # None, save where the normalisation is folded into it
            stride=conv.stride,
            padding=conv.padding,
            dilation=conv.dilation,
            mask=moves[:, 2 * TAPS :].sigmoid(),
        )
        normalized: Tensor = self.activation(self.norm(out))
        return normalized
