"""Keypoint heads: pooled features of a region to a heat map a keypoint.

Legend: R regions, C channels, S side of the pooled features, K keypoints.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

UPSAMPLING = 4
"""Side of the heat maps, in units of the side of the pooled features."""


class ConvKeypointHead(nn.Module):
    """Eight 3x3 convolutions, a transposed one that doubles the size, a bilinear one that doubles it again.

    He et al., "Mask R-CNN", 2017.

    Args:
        in_channels: of the pooled features.
        num_keypoints: K.
        channels: of every hidden layer.
    """

    def __init__(self, in_channels: int, num_keypoints: int = 17, channels: int = 512) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(in_channels if i == 0 else channels, channels, 3, padding=1) for i in range(8)
        )
        self.heatmaps = nn.ConvTranspose2d(channels, num_keypoints, 4, stride=2, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type] # these convolutions have a bias

    def forward(self, pooled: Tensor) -> Tensor:
        """Pooled features (R, C, S, S) to logits (R, K, 4S, 4S)."""
        x = pooled
        for conv in self.convs:
            x = F.relu(conv(x), inplace=True)
        return F.interpolate(self.heatmaps(x), scale_factor=2.0, mode="bilinear", align_corners=False)
