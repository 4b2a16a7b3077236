"""ResNet (He et al., "Deep Residual Learning for Image Recognition", 2015).

Stage outputs are c2 to c5, at strides 4, 8, 16 and 32.
"""

from __future__ import annotations

from torch import Tensor, nn

from zoo.models.layers.conv import ConvNorm
from zoo.types import FeatureSpec


class BasicBlock(nn.Module):
    """Two 3x3, added to the shortcut. The first carries the stride."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(in_channels, width, 3, stride=stride, activation=nn.ReLU(inplace=True))
        self.conv2 = ConvNorm(width, width, 3)
        self.shortcut = _shortcut(in_channels, width, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.conv2(self.conv1(x))
        out: Tensor = self.relu(residual.add_(self.shortcut(x)))
        return out


class Bottleneck(nn.Module):
    """1x1 reduce, 3x3, 1x1 expand by 4, added to the shortcut. The 3x3 carries the stride."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = ConvNorm(in_channels, width, 1, activation=nn.ReLU(inplace=True))
        self.conv2 = ConvNorm(width, width, 3, stride=stride, activation=nn.ReLU(inplace=True))
        self.conv3 = ConvNorm(width, out_channels, 1)
        self.shortcut = _shortcut(in_channels, out_channels, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.conv3(self.conv2(self.conv1(x)))
        out: Tensor = self.relu(residual.add_(self.shortcut(x)))
        return out


STAGES: dict[int, tuple[type[BasicBlock | Bottleneck], tuple[int, ...]]] = {
    10: (BasicBlock, (1, 1, 1, 1)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}
"""Depth -> kind of block, and blocks in each of the four stages."""


class ResNet(nn.Module):
    """Residual network in four stages.

    Args:
        depth: 10, 50 or 101.
        frozen_stages: the stem and this many stages get no gradients and stay in eval mode; -1 freezes nothing.
        norm_eval: batch normalisation uses its running statistics in training too.
        width: channels of the stem and of the first stage's 3x3; doubled from stage to stage.

    Attributes:
        out_specs: channels and stride of each returned map.
    """

    def __init__(self, depth: int, frozen_stages: int = 1, norm_eval: bool = True, width: int = 64) -> None:
        super().__init__()
        if depth not in STAGES:
            raise ValueError(f"depth: {depth}, known are {sorted(STAGES)}")
        block, counts = STAGES[depth]
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.stem = ConvNorm(3, width, 7, stride=2, activation=nn.ReLU(inplace=True))
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        channels, specs = width, []
        for stage, count in enumerate(counts):
            inner, stride = width * 2**stage, 1 if stage == 0 else 2
            self.add_module(f"layer{stage + 1}", _stage(block, channels, inner, count, stride))
            channels = inner * block.expansion
            specs.append(FeatureSpec(channels, stride=4 * 2**stage))
        self.out_specs = tuple(specs)
        self._freeze()

    @property
    def stages(self) -> list[nn.Module]:
        """layer1 to layer4."""
        return [self.get_submodule(f"layer{i + 1}") for i in range(4)]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images (N, 3, H, W) to (c2, c3, c4, c5)."""
        x = self.pool(self.stem(images))
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return tuple(features)

    def train(self, mode: bool = True) -> ResNet:
        """Training mode, save for the frozen stages and, with `norm_eval`, the normalisations."""
        super().train(mode)
        for module in self._frozen():
            module.eval()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def _frozen(self) -> list[nn.Module]:
        return [self.stem, *self.stages[: self.frozen_stages]] if self.frozen_stages >= 0 else []

    def _freeze(self) -> None:
        for module in self._frozen():
            module.requires_grad_(False)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The identity where it fits, else a projection."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return ConvNorm(in_channels, out_channels, 1, stride=stride)


def _stage(
    block: type[BasicBlock | Bottleneck], in_channels: int, width: int, count: int, stride: int
) -> nn.Sequential:
    first = block(in_channels, width, stride)
    rest = (block(width * block.expansion, width, 1) for _ in range(count - 1))
    return nn.Sequential(first, *rest)
