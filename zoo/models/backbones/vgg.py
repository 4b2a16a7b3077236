"""VGG-16 (Simonyan and Zisserman, "Very Deep Convolutional Networks", 2014) up to its last convolution."""

from __future__ import annotations

from torch import Tensor, nn

from zoo.types import FeatureSpec

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and number of 3x3 convolutions of each stage; a max-pool stands between two."""


class Vgg16(nn.Module):
    """Five stages of 3x3 convolutions with biases, of which the last one's map is returned, at stride 16.

    The fully connected layers that follow the fifth max-pool in the original are a box head's.

    Args:
        frozen_stages: this many stages get no gradients.

    Attributes:
        out_specs: channels and stride of the returned map.
    """

    def __init__(self, frozen_stages: int = 2) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        in_channels = 3
        for channels, count in STAGES:
            layers: list[nn.Module] = []
            for _ in range(count):
                layers += [nn.Conv2d(in_channels, channels, 3, padding=1), nn.ReLU(inplace=True)]
                in_channels = channels
            self.stages.append(nn.Sequential(*layers))
        self.pool = nn.MaxPool2d(2, stride=2)
        self.out_specs = (FeatureSpec(in_channels, 2 ** (len(STAGES) - 1)),)
        for stage in self.stages[:frozen_stages]:
            stage.requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images (N, 3, H, W) to the one map (N, 512, H / 16, W / 16), sides rounded down."""
        first, *others = self.stages
        x = first(images)
        for stage in others:
            x = stage(self.pool(x))
        return (x,)
