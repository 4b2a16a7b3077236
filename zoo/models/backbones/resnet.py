"""ResNet (He et al., "Deep Residual Learning for Image Recognition", 2015) and ResNeXt (Xie et al., 2017).

Stage outputs are c2 to c5, at strides 4, 8, 16 and 32 where no stage is dilated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from zoo.models.layers.conv import ConvNorm, norms
from zoo.types import FeatureSpec


@dataclass(frozen=True, slots=True)
class BlockSettings:
    """What the blocks of a network have in common.

    Attributes:
        style: which convolution of a bottleneck carries its stride: "pytorch", the 3x3, or "caffe", the first 1x1.
        groups: of the bottleneck's 3x3.
        base_width: channels of each group in the first stage, where the network is 64 wide.
    """

    style: str = "pytorch"
    groups: int = 1
    base_width: int = 64

    def __post_init__(self) -> None:
        if self.style not in ("pytorch", "caffe"):
            raise ValueError(f"style: {self.style!r} is neither 'pytorch' nor 'caffe'")


PLAIN = BlockSettings()


class BasicBlock(nn.Module):
    """Two 3x3, added to the shortcut. The first carries the stride."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int, settings: BlockSettings) -> None:
        super().__init__()
        if settings != PLAIN:
            raise ValueError(f"{settings}: basic blocks have one style and no groups")
        relu = nn.ReLU(inplace=True)
        self.conv1 = ConvNorm(in_channels, width, 3, stride=stride, dilation=dilation, activation=relu)
        self.conv2 = ConvNorm(width, width, 3, dilation=dilation)
        self.shortcut = _shortcut(in_channels, width, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.conv2(self.conv1(x))
        out: Tensor = self.relu(residual.add_(self.shortcut(x)))
        return out


class Bottleneck(nn.Module):
    """1x1 reduce, 3x3, 1x1 expand, added to the shortcut: 4 times as many channels out as the width."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int, settings: BlockSettings) -> None:
        super().__init__()
        inner, out_channels = width * settings.base_width // 64 * settings.groups, width * self.expansion
        strides = (stride, 1) if settings.style == "caffe" else (1, stride)
        self.conv1 = ConvNorm(in_channels, inner, 1, stride=strides[0], activation=nn.ReLU(inplace=True))
        self.conv2 = ConvNorm(
            inner,
            inner,
            3,
            stride=strides[1],
            dilation=dilation,
            groups=settings.groups,
            activation=nn.ReLU(inplace=True),
        )
        self.conv3 = ConvNorm(inner, out_channels, 1)
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
    """Residual network in up to four stages.

    Args:
        depth: 10, 50 or 101.
        style: where a bottleneck has its stride: "pytorch", on the 3x3, or "caffe", on the first 1x1.
        groups: of each 3x3; more than 1 makes a ResNeXt.
        base_width: channels of each group in the first stage.
        strides: of each stage.
        dilations: of the 3x3 in each stage.
        out_stages: those whose maps are returned, 1 to 4, ascending; stages after the last of them do not exist.
        frozen_stages: the stem and this many stages get no gradients and stay in eval mode; -1 freezes nothing.
        norm_eval: batch normalisation uses its running statistics in training too.
        norm_trained: scales and biases of batch normalisation get gradients.
        width: channels of the stem and of the first stage; doubled from stage to stage.

    Attributes:
        out_specs: channels and stride of each returned map.
    """

    def __init__(
        self,
        depth: int,
        style: str = "pytorch",
        groups: int = 1,
        base_width: int = 64,
        strides: Sequence[int] = (1, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        out_stages: Sequence[int] = (1, 2, 3, 4),
        frozen_stages: int = 1,
        norm_eval: bool = True,
        norm_trained: bool = True,
        width: int = 64,
    ) -> None:
        super().__init__()
        settings = BlockSettings(style, groups, base_width)
        self.out_stages = tuple(out_stages)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.stem = ConvNorm(3, width, 7, stride=2, activation=nn.ReLU(inplace=True))
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        channels, reached, specs = width, 4, []
        for stage in range(1, max(out_stages) + 1):
            stride, dilation = strides[stage - 1], dilations[stage - 1]
            blocks = residual_stage(depth, stage, channels, stride, dilation, settings, width)
            self.add_module(f"layer{stage}", blocks)
            channels, reached = stage_channels(depth, stage, width), reached * stride
            if stage in self.out_stages:
                specs.append(FeatureSpec(channels, reached))
        self.out_specs = tuple(specs)
        self._freeze(norm_trained)

    @property
    def stages(self) -> list[nn.Module]:
        """layer1 to layer4, as many as there are."""
        return [self.get_submodule(f"layer{stage}") for stage in range(1, max(self.out_stages) + 1)]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images (N, 3, H, W) to the maps of the returned stages, (c2, c3, c4, c5) where it is all of them."""
        x = self.pool(self.stem(images))
        features = []
        for number, stage in enumerate(self.stages, start=1):
            x = stage(x)
            if number in self.out_stages:
                features.append(x)
        return tuple(features)

    def train(self, mode: bool = True) -> ResNet:
        """Training mode, save for the frozen stages and, with `norm_eval`, the normalisations."""
        super().train(mode)
        for module in self._frozen():
            module.eval()
        if self.norm_eval:
            for norm in norms(self):
                norm.eval()
        return self

    def _frozen(self) -> list[nn.Module]:
        return [self.stem, *self.stages[: self.frozen_stages]] if self.frozen_stages >= 0 else []

    def _freeze(self, norm_trained: bool) -> None:
        for module in (*self._frozen(), *(() if norm_trained else norms(self))):
            module.requires_grad_(False)


def residual_stage(
    depth: int,
    stage: int,
    in_channels: int,
    stride: int,
    dilation: int = 1,
    settings: BlockSettings = PLAIN,
    width: int = 64,
) -> nn.Sequential:
    """One stage of a residual network; only its first block changes channels and size.

    Args:
        depth: of the network, 10, 50 or 101.
        stage: 1 to 4.
        in_channels: of the map it gets.
        stride: of the first block.
        dilation: of every 3x3.
        settings: of every block.
        width: of the network's first stage.
    """
    block, counts = _kind(depth)
    nominal = width * 2 ** (stage - 1)
    first = block(in_channels, nominal, stride, dilation, settings)
    rest = (block(nominal * block.expansion, nominal, 1, dilation, settings) for _ in range(counts[stage - 1] - 1))
    return nn.Sequential(first, *rest)


def stage_channels(depth: int, stage: int, width: int = 64) -> int:
    """Channels that a stage, 1 to 4, gives."""
    channels: int = width * 2 ** (stage - 1) * _kind(depth)[0].expansion
    return channels


def _kind(depth: int) -> tuple[type[BasicBlock | Bottleneck], tuple[int, ...]]:
    if depth not in STAGES:
        raise ValueError(f"depth: {depth}, known are {sorted(STAGES)}")
    return STAGES[depth]


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The identity where it fits, else a projection."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return ConvNorm(in_channels, out_channels, 1, stride=stride)
