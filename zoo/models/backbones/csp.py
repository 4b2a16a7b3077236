"""The backbone of YOLOv8 (Ultralytics, 2023): cross-stage partial stages, with pyramid pooling at the end.

Outputs are p3 to p5, at strides 8, 16 and 32.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from zoo.models.layers.csp import SPPF, C2f, conv_block
from zoo.types import FeatureSpec


class CspStage(nn.Module):
    """A 3x3 that halves the size, then a cross-stage partial block with shortcuts.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        blocks: number of bottlenecks.
    """

    def __init__(self, in_channels: int, out_channels: int, blocks: int) -> None:
        super().__init__()
        self.reduce = conv_block(in_channels, out_channels, 3, stride=2)
        self.csp = C2f(out_channels, out_channels, blocks, shortcut=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.csp(self.reduce(x))
        return out


class CspBackbone(nn.Module):
    """A stem and four stages, each of which halves the size.

    Args:
        channels: number of channels of the stem and of each stage.
        blocks: number of bottlenecks in each stage.

    Attributes:
        out_specs: channels and stride of each returned map.
    """

    def __init__(self, channels: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        if len(channels) != 5 or len(blocks) != 4:
            raise ValueError(f"channels and blocks: {len(channels)} and {len(blocks)} numbers where 5 and 4 are needed")
        self.stem = conv_block(3, channels[0], 3, stride=2)
        self.stages = nn.ModuleList(CspStage(channels[i], channels[i + 1], count) for i, count in enumerate(blocks))
        self.pooling = SPPF(channels[-1])
        self.out_specs = tuple(FeatureSpec(channels[i], stride=2 ** (i + 1)) for i in (2, 3, 4))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images (N, 3, H, W), with sides that are multiples of 32, to (p3, p4, p5)."""
        x = self.stem(images)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        _, p3, p4, c5 = features
        return p3, p4, self.pooling(c5)
