"""VGG-16 (Simonyan and Zisserman, "Very Deep Convolutional Networks", 2014) up to its last convolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from zoo.types import FeatureSpec

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and number of 3x3 convolutions of each stage; a max-pool stands between two."""


class Vgg16(nn.Module):
    """Five stages of 3x3 convolutions with biases; the last one's map is at stride 16.

    The fully connected layers that follow the fifth max-pool in the original are a box head's.

    Args:
        frozen_stages: this many stages get no gradients.
        out_stages: those whose maps are returned, 1 to 5, ascending; the last of them is the last there is.
        ceil_stages: those after which the max-pool rounds the sides of the map up; else they are rounded down.

    Attributes:
        out_specs: channels and stride of each returned map.
    """

    def __init__(
        self, frozen_stages: int = 2, out_stages: Sequence[int] = (5,), ceil_stages: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.out_stages, self.ceil_stages = tuple(out_stages), tuple(ceil_stages)
        self.stages = nn.ModuleList()
        in_channels = 3
        for channels, count in STAGES[: max(out_stages)]:
            layers: list[nn.Module] = []
            for _ in range(count):
                layers += [nn.Conv2d(in_channels, channels, 3, padding=1), nn.ReLU(inplace=True)]
                in_channels = channels
            self.stages.append(nn.Sequential(*layers))
        self.out_specs = tuple(FeatureSpec(STAGES[stage - 1][0], 2 ** (stage - 1)) for stage in self.out_stages)
        for stage in self.stages[:frozen_stages]:
            stage.requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images (N, 3, H, W) to the maps of the returned stages; of the fifth it is (N, 512, H / 16, W / 16)."""
        x = images
        features = []
        for number, stage in enumerate(self.stages, start=1):
            if number > 1:
                x = F.max_pool2d(x, 2, stride=2, ceil_mode=number - 1 in self.ceil_stages)
            x = stage(x)
            if number in self.out_stages:
                features.append(x)
        return tuple(features)
