"""Mask heads: pooled features of a region to a mask a class."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from zoo.models.layers.conv import ConvNorm

UPSAMPLING = 2
"""Side of the masks, in units of the side of the pooled features."""


class ConvMaskHead(nn.Module):
    """Four 3x3 convolutions, a transposed one that doubles the size, one mask a class (He et al., "Mask R-CNN", 2017).

    Args:
        in_channels: of the pooled features.
        num_classes: object classes, without background.
        channels: of every hidden layer.
        norm: batch normalisation after each 3x3, which then has no bias.
        background_mask: background has a mask too, the last, which is neither trained nor asked for.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        channels: int = 256,
        norm: bool = False,
        background_mask: bool = False,
    ) -> None:
        super().__init__()
        layer = ConvNorm if norm else _conv
        self.convs = nn.ModuleList(layer(in_channels if i == 0 else channels, channels, 3) for i in range(4))
        self.upsample = nn.ConvTranspose2d(channels, channels, UPSAMPLING, stride=UPSAMPLING)
        self.logits = nn.Conv2d(channels, num_classes + background_mask, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        """Pooled features (R, C, S, S) to mask logits (R, K, 2S, 2S), K + 1 with one of background."""
        x = pooled
        for conv in self.convs:
            x = F.relu(conv(x), inplace=True)
        logits: Tensor = self.logits(F.relu(self.upsample(x), inplace=True))
        return logits


def _conv(in_channels: int, out_channels: int, kernel_size: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
