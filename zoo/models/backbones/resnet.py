"""ResNet (He et al., "Deep Residual Learning for Image Recognition", 2015) and what came of it, put together of parts.

ResNeXt (Xie et al., 2017) has groups, variant D (He et al., "Bag of Tricks", 2018) a deep stem and pooled shortcuts,
Res2Net and deformable networks another 3x3. Stage outputs are c2 to c5, at strides 4, 8, 16 and 32 where no stage is
dilated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from zoo.models.layers.conv import ConvNorm, NormAffine, fix_affine, norms
from zoo.models.layers.deform_conv import DeformConvNorm
from zoo.types import FeatureSpec


def stem_7x7(width: int) -> nn.Module:
    """Images (N, 3, H, W) to (N, width, H / 2, W / 2) by one convolution (He et al., 2015)."""
    return ConvNorm(3, width, 7, stride=2, activation=nn.ReLU(inplace=True))


def deep_stem(width: int) -> nn.Module:
    """Images (N, 3, H, W) to (N, width, H / 2, W / 2) by three 3x3, the first two half as wide (He et al., 2018)."""
    return nn.Sequential(
        ConvNorm(3, width // 2, 3, stride=2, activation=nn.ReLU(inplace=True)),
        ConvNorm(width // 2, width // 2, 3, activation=nn.ReLU(inplace=True)),
        ConvNorm(width // 2, width, 3, activation=nn.ReLU(inplace=True)),
    )


def padded_max_pool() -> nn.Module:
    """What follows the stem: the largest of 3x3 about every second pixel, beyond the border too."""
    return nn.MaxPool2d(3, stride=2, padding=1)


def ceil_max_pool() -> nn.Module:
    """The same as Caffe has it: windows begin at the first pixel, and the last may reach beyond the border.

    Everything after it lies a pixel of the stem's map further left and up than after `padded_max_pool`.
    """
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def plain_conv3x3(in_channels: int, out_channels: int, stride: int, dilation: int, groups: int) -> nn.Module:
    """The 3x3 of a bottleneck, with its normalisation and activation."""
    relu = nn.ReLU(inplace=True)
    return ConvNorm(in_channels, out_channels, 3, stride=stride, dilation=dilation, groups=groups, activation=relu)


def deformable_conv3x3(in_channels: int, out_channels: int, stride: int, dilation: int, groups: int) -> nn.Module:
    """The 3x3 of a bottleneck, modulated and deformable (Zhu et al., 2018), with its normalisation and activation."""
    relu = nn.ReLU(inplace=True)
    return DeformConvNorm(in_channels, out_channels, stride=stride, dilation=dilation, groups=groups, activation=relu)


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The shortcut of a stage's first block: the identity where it fits, else a 1x1 with the stride."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return always_projection(in_channels, out_channels, stride)


def always_projection(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The same, but a 1x1 also where the identity would fit, as in basic blocks' first stage (PaddleDetection)."""
    return ConvNorm(in_channels, out_channels, 1, stride=stride)


def pooled_projection(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The same, but an average of 2x2 before the 1x1 halves the size, so that nothing is skipped (He et al., 2018)."""
    make = _PooledProjection if stride > 1 else projection
    return make(in_channels, out_channels, stride)


class _PooledProjection(ConvNorm):
    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(in_channels, out_channels, 1)
        # At an odd border a window averages what it has.
        self.pool = nn.AvgPool2d(stride, stride=stride, ceil_mode=True, count_include_pad=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.pool(x))


def identity(in_channels: int, out_channels: int, stride: int) -> nn.Module:  # noqa: ARG001 - as every shortcut is made
    """The shortcut of all other blocks."""
    return nn.Identity()


Shortcut = Callable[[int, int, int], nn.Module]
"""Input channels, output channels and stride to a module."""

Conv3x3 = Callable[[int, int, int, int, int], nn.Module]
"""Input channels, output channels, stride, dilation and groups to a module."""


@dataclass(frozen=True, slots=True)
class BlockParts:
    """What the blocks of a stage are made of.

    Attributes:
        style: which convolution of a bottleneck carries its stride: "pytorch", the 3x3, or "caffe", the first 1x1.
        groups: of the bottleneck's 3x3.
        base_width: channels of each group in the first stage, where the network is 64 wide.
        conv3x3: makes the bottleneck's 3x3.
        shortcut: makes the shortcut of the first block; the others have the identity.
    """

    style: str = "pytorch"
    groups: int = 1
    base_width: int = 64
    conv3x3: Conv3x3 = plain_conv3x3
    shortcut: Shortcut = projection

    def __post_init__(self) -> None:
        if self.style not in ("pytorch", "caffe"):
            raise ValueError(f"style: {self.style!r} is neither 'pytorch' nor 'caffe'")


class BasicBlock(nn.Module):
    """Two 3x3, added to the shortcut. The first carries the stride."""

    expansion = 1

    def __init__(
        self, in_channels: int, width: int, stride: int, dilation: int, parts: BlockParts, shortcut: Shortcut
    ) -> None:
        super().__init__()
        if replace(parts, shortcut=projection) != BlockParts():
            raise ValueError(f"{parts}: basic blocks have one style, no groups and plain 3x3")
        relu = nn.ReLU(inplace=True)
        self.conv1 = ConvNorm(in_channels, width, 3, stride=stride, dilation=dilation, activation=relu)
        self.conv2 = ConvNorm(width, width, 3, dilation=dilation)
        self.shortcut = shortcut(in_channels, width, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.conv2(self.conv1(x))
        out: Tensor = self.relu(residual.add_(self.shortcut(x)))
        return out


class Bottleneck(nn.Module):
    """1x1 reduce, 3x3, 1x1 expand, added to the shortcut: 4 times as many channels out as the width."""

    expansion = 4

    def __init__(
        self, in_channels: int, width: int, stride: int, dilation: int, parts: BlockParts, shortcut: Shortcut
    ) -> None:
        super().__init__()
        inner, out_channels = width * parts.base_width // 64 * parts.groups, width * self.expansion
        strides = (stride, 1) if parts.style == "caffe" else (1, stride)
        self.conv1 = ConvNorm(in_channels, inner, 1, stride=strides[0], activation=nn.ReLU(inplace=True))
        self.conv2 = parts.conv3x3(inner, inner, strides[1], dilation, parts.groups)
        self.conv3 = ConvNorm(inner, out_channels, 1)
        self.shortcut = shortcut(in_channels, out_channels, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.conv3(self.conv2(self.conv1(x)))
        out: Tensor = self.relu(residual.add_(self.shortcut(x)))
        return out


STAGES: dict[int, tuple[type[BasicBlock | Bottleneck], tuple[int, ...]]] = {
    10: (BasicBlock, (1, 1, 1, 1)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}
"""Depth -> kind of block, and blocks in each of the four stages."""


class ResNet(nn.Module):
    """Residual network in up to four stages, put together of parts.

    Args:
        depth: 10, 34, 50 or 101.
        style: where a bottleneck has its stride: "pytorch", on the 3x3, or "caffe", on the first 1x1.
        groups: of each 3x3; more than 1 makes a ResNeXt.
        base_width: channels of each group in the first stage.
        strides: of each stage.
        dilations: of the 3x3 in each stage.
        out_stages: those whose maps are returned, 1 to 4, ascending; stages after the last of them do not exist.
        frozen_stages: the stem and this many stages get no gradients and stay in eval mode; -1 freezes nothing.
        norm_eval: batch normalisation uses its running statistics in training too.
        norm_affine: what scales and biases of batch normalisation are.
        norm_eps: added to the variance by the normalisation.
        width: channels of the stem and of the first stage; doubled from stage to stage.
        stem: makes what comes before the max-pool.
        pool: makes the max-pool.
        shortcut: makes the shortcut of each stage's first block.
        conv3x3: makes the 3x3 of a bottleneck.
        conv3x3_stages: where it stands; the other stages have a plain 3x3.

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
        norm_affine: NormAffine = "trained",
        norm_eps: float = 1e-5,
        width: int = 64,
        stem: Callable[[int], nn.Module] = stem_7x7,
        pool: Callable[[], nn.Module] = padded_max_pool,
        shortcut: Shortcut = projection,
        conv3x3: Conv3x3 = plain_conv3x3,
        conv3x3_stages: Sequence[int] = (1, 2, 3, 4),
    ) -> None:
        super().__init__()
        if depth not in STAGES:
            raise ValueError(f"depth: {depth}, known are {sorted(STAGES)}")
        self.block, self.counts = STAGES[depth]
        plain = BlockParts(style, groups, base_width, shortcut=shortcut)
        self.parts = {
            stage: replace(plain, conv3x3=conv3x3) if stage in conv3x3_stages else plain
            for stage in range(1, len(self.counts) + 1)
        }
        self.width = width
        self.strides, self.dilations = tuple(strides), tuple(dilations)
        self.out_stages = tuple(out_stages)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.norm_affine = norm_affine
        self.norm_eps = norm_eps
        self.stem = stem(width)
        self.pool = pool()
        for stage in range(1, max(out_stages) + 1):
            self.add_module(f"layer{stage}", self._make_stage(stage))
        self.out_specs = tuple(self._spec(stage) for stage in self.out_stages)
        self._set_norms(self)
        for module in self._frozen():
            module.requires_grad_(False)

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

    def next_stage(self) -> NextStage:
        """The stage after the last that is returned, for a head that runs it on regions.

        Raises:
            ValueError: there is none.
        """
        stage = max(self.out_stages) + 1
        if stage > len(self.counts):
            raise ValueError(
                f"a head needs the stage after the backbone's last, but out_stages {self.out_stages} are up to the last"
            )
        spec = FeatureSpec(self._spec(stage).channels, self.strides[stage - 1])
        found = NextStage(self._make_stage(stage), spec, self.norm_eval)
        self._set_norms(found)
        return found

    def train(self, mode: bool = True) -> ResNet:
        """Training mode, save for the frozen stages and, with `norm_eval`, the normalisations."""
        super().train(mode)
        for module in self._frozen():
            module.eval()
        if self.norm_eval:
            for norm in norms(self):
                norm.eval()
        return self

    def _make_stage(self, stage: int) -> nn.Sequential:
        """A stage, 1 to 4; only its first block changes channels and size."""
        in_channels = self.width if stage == 1 else self._spec(stage - 1).channels
        width, stride, dilation = self.width * 2 ** (stage - 1), self.strides[stage - 1], self.dilations[stage - 1]
        parts = self.parts[stage]
        first = self.block(in_channels, width, stride, dilation, parts, parts.shortcut)
        channels = width * self.block.expansion
        rest = (self.block(channels, width, 1, dilation, parts, identity) for _ in range(self.counts[stage - 1] - 1))
        return nn.Sequential(first, *rest)

    def _spec(self, stage: int) -> FeatureSpec:
        """Channels and stride of what a stage, 1 to 4, gives."""
        channels = self.width * 2 ** (stage - 1) * self.block.expansion
        return FeatureSpec(channels, 4 * math.prod(self.strides[:stage]))

    def _frozen(self) -> list[nn.Module]:
        return [self.stem, *self.stages[: self.frozen_stages]] if self.frozen_stages >= 0 else []

    def _set_norms(self, network: nn.Module) -> None:
        """Give the normalisations of this network, or of a stage outside it, what they were asked to have."""
        fix_affine(network, self.norm_affine)
        for norm in norms(network):
            norm.eps = self.norm_eps
        if self.norm_affine != "trained":
            scale_residuals(network, sum(self.counts))


def scale_residuals(network: nn.Module, blocks: int) -> None:
    """Scale down what each block adds to its shortcut, for networks whose normalisations stay as they were.

    A file to begin with has scales of its own. Without one nothing would normalise: values would grow with every block,
    beyond all numbers in a ResNet-101.

    Args:
        network: its blocks are scaled in place.
        blocks: number of blocks of the whole network.
    """
    for block in network.modules():
        if isinstance(block, BasicBlock | Bottleneck):
            last = block.conv3 if isinstance(block, Bottleneck) else block.conv2
            if isinstance(last.norm, nn.BatchNorm2d):
                nn.init.constant_(last.norm.weight, blocks**-0.5)


class NextStage(nn.Module):
    """A stage of a ResNet outside it, with normalisation that is trained, or not, as the backbone's is.

    Args:
        blocks: of the stage.
        spec: channels that it gives, and its own stride.
        norm_eval: batch normalisation uses its running statistics in training too.
    """

    def __init__(self, blocks: nn.Sequential, spec: FeatureSpec, norm_eval: bool) -> None:
        super().__init__()
        self.blocks = blocks
        self.spec = spec
        self.norm_eval = norm_eval

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, channels, H / stride, W / stride)."""
        out: Tensor = self.blocks(x)
        return out

    def train(self, mode: bool = True) -> NextStage:
        """Training mode, save for the normalisations with `norm_eval`."""
        super().train(mode)
        if self.norm_eval:
            for norm in norms(self):
                norm.eval()
        return self
