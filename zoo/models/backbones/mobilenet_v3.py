"""MobileNetV3-Large (Howard et al., "Searching for MobileNetV3", 2019), up to the 1x1 before its average pool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import NamedTuple

from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from zoo.models.layers.conv import ConvNorm, NormAffine, fix_affine, norms
from zoo.types import FeatureSpec


class Bottleneck(NamedTuple):
    """A row of the paper's Table 1.

    Attributes:
        kernel_size: of the depthwise convolution.
        expanded: its channels.
        channels: of the output.
        squeeze: channels are weighed by what the map's average says of them (Hu et al., 2018).
        hard_swish: activations are h-swish, otherwise ReLU.
        stride: of the depthwise convolution.
    """

    kernel_size: int
    expanded: int
    channels: int
    squeeze: bool
    hard_swish: bool
    stride: int


STEM_CHANNELS = 16

LARGE = (
    Bottleneck(3, 16, 16, squeeze=False, hard_swish=False, stride=1),
    Bottleneck(3, 64, 24, squeeze=False, hard_swish=False, stride=2),
    Bottleneck(3, 72, 24, squeeze=False, hard_swish=False, stride=1),
    Bottleneck(5, 72, 40, squeeze=True, hard_swish=False, stride=2),
    Bottleneck(5, 120, 40, squeeze=True, hard_swish=False, stride=1),
    Bottleneck(5, 120, 40, squeeze=True, hard_swish=False, stride=1),
    Bottleneck(3, 240, 80, squeeze=False, hard_swish=True, stride=2),
    Bottleneck(3, 200, 80, squeeze=False, hard_swish=True, stride=1),
    Bottleneck(3, 184, 80, squeeze=False, hard_swish=True, stride=1),
    Bottleneck(3, 184, 80, squeeze=False, hard_swish=True, stride=1),
    Bottleneck(3, 480, 112, squeeze=True, hard_swish=True, stride=1),
    Bottleneck(3, 672, 112, squeeze=True, hard_swish=True, stride=1),
)
"""Bottlenecks 1 to 12 of MobileNetV3-Large."""

TAIL_CHANNELS = 160
"""Of what bottlenecks 13 to 15 give; halved where the tail is reduced."""

TAIL_EXPANSION = 6
"""Channels of the last 1x1, and inside bottlenecks 14 and 15, in units of the tail's."""


class MobileNetV3(nn.Module):
    """A stem, layer 0, 15 inverted bottlenecks, layers 1 to 15, and a 1x1, layer 16.

    Args:
        out_layers: those whose maps are returned.
        out_expansions: bottlenecks whose first 1x1's map is returned, before the depthwise convolution, as SSDLite
            takes that of bottleneck 13 at stride 16.
        reduced_tail: bottlenecks 13 to 15 and the last 1x1 are half as wide (section 6.3 of the paper).
        frozen_layers: the first so many layers get no gradients.
        norm_eval: batch normalisation uses its running statistics in training too.
        norm_affine: what scales and biases of batch normalisation are.
        norm_eps: added to the variance by the normalisation.
        norm_momentum: share of a new batch in the running statistics.

    Attributes:
        out_specs: channels and stride of each returned map.
    """

    def __init__(
        self,
        out_layers: Sequence[int] = (13, 16),
        out_expansions: Sequence[int] = (),
        reduced_tail: bool = False,
        frozen_layers: int = 0,
        norm_eval: bool = False,
        norm_affine: NormAffine = "trained",
        norm_eps: float = 1e-3,
        norm_momentum: float = 0.01,
    ) -> None:
        super().__init__()
        rows = (*LARGE, *_tail(TAIL_CHANNELS // 2 if reduced_tail else TAIL_CHANNELS))
        self.out_layers, self.out_expansions = frozenset(out_layers), frozenset(out_expansions)
        if self.out_layers - set(range(len(rows) + 2)) or self.out_expansions - set(range(1, len(rows) + 1)):
            raise ValueError(
                f"out_layers {sorted(out_layers)}, out_expansions {sorted(out_expansions)}: layers are 0 to"
                f" {len(rows) + 1}, and 1 to {len(rows)} of them expand"
            )
        self.norm_eval = norm_eval
        layer = partial(ConvNorm, eps=norm_eps, momentum=norm_momentum)
        self.stem = layer(3, STEM_CHANNELS, 3, stride=2, activation=nn.Hardswish(inplace=True))
        in_channels = (STEM_CHANNELS, *(row.channels for row in rows))
        self.blocks = nn.ModuleList(
            InvertedBottleneck(channels, row, layer) for channels, row in zip(in_channels, rows, strict=False)
        )
        last = in_channels[-1] * TAIL_EXPANSION
        self.last = layer(in_channels[-1], last, 1, activation=nn.Hardswish(inplace=True))
        self.out_specs = _out_specs(rows, self.out_layers, self.out_expansions)
        fix_affine(self, norm_affine)
        for layer in (self.stem, *self.blocks, self.last)[:frozen_layers]:
            layer.requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images (N, 3, H, W) to the returned maps, in the order of the layers."""
        x = self.stem(images)
        maps = [x] if 0 in self.out_layers else []
        for number, block in enumerate(self.blocks, start=1):
            expanded, x = block(x)
            maps += [expanded] if number in self.out_expansions else []
            maps += [x] if number in self.out_layers else []
        return (*maps, self.last(x)) if len(self.blocks) + 1 in self.out_layers else tuple(maps)

    def train(self, mode: bool = True) -> MobileNetV3:
        """Training mode, save for the normalisations with `norm_eval`."""
        super().train(mode)
        if self.norm_eval:
            for norm in norms(self):
                norm.eval()
        return self


class InvertedBottleneck(nn.Module):
    """1x1 expand, depthwise convolution, 1x1 reduce; added to its input where that has the same shape.

    Args:
        in_channels: channels of the input.
        row: what it is made of.
        layer: makes a convolution with its normalisation.
    """

    def __init__(self, in_channels: int, row: Bottleneck, layer: Callable[..., ConvNorm]) -> None:
        super().__init__()
        activation = nn.Hardswish if row.hard_swish else nn.ReLU
        self.expansion: nn.Module = nn.Identity()
        if row.expanded != in_channels:
            self.expansion = layer(in_channels, row.expanded, 1, activation=activation(inplace=True))
        self.depthwise = layer(
            row.expanded,
            row.expanded,
            row.kernel_size,
            stride=row.stride,
            groups=row.expanded,
            activation=activation(inplace=True),
        )
        self.squeeze: nn.Module = _squeeze(row.expanded) if row.squeeze else nn.Identity()
        self.reduction = layer(row.expanded, row.channels, 1)
        self.residual = row.stride == 1 and in_channels == row.channels

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (N, C, H, W) to what the depthwise convolution takes, (N, expanded, H, W), and to the block's output,
        (N, channels, H / stride, W / stride).
        """
        expanded: Tensor = self.expansion(x)
        out: Tensor = self.reduction(self.squeeze(self.depthwise(expanded)))
        return expanded, out.add_(x) if self.residual else out


def _squeeze(channels: int) -> SqueezeExcitation:
    """Weights of channels from a layer of a quarter of them, a multiple of 8 that is at most a tenth smaller."""
    quarter = channels // 4
    rounded = max(8, (quarter + 4) // 8 * 8)
    found = SqueezeExcitation(
        channels, rounded + 8 if rounded < 0.9 * quarter else rounded, scale_activation=nn.Hardsigmoid
    )
    for conv in (found.fc1, found.fc2):
        nn.init.kaiming_normal_(conv.weight, mode="fan_out")
        nn.init.zeros_(conv.bias)
    return found


def _tail(channels: int) -> tuple[Bottleneck, ...]:
    """Bottlenecks 13 to 15."""
    wide = channels * TAIL_EXPANSION
    return (
        Bottleneck(5, 672, channels, squeeze=True, hard_swish=True, stride=2),
        Bottleneck(5, wide, channels, squeeze=True, hard_swish=True, stride=1),
        Bottleneck(5, wide, channels, squeeze=True, hard_swish=True, stride=1),
    )


def _out_specs(
    rows: Sequence[Bottleneck], layers: frozenset[int], expansions: frozenset[int]
) -> tuple[FeatureSpec, ...]:
    """Channels and strides of the returned maps."""
    strides = list(accumulate((row.stride for row in rows), lambda stride, by: stride * by, initial=2))
    specs = [FeatureSpec(STEM_CHANNELS, strides[0])] if 0 in layers else []
    for number, row in enumerate(rows, start=1):
        specs += [FeatureSpec(row.expanded, strides[number - 1])] if number in expansions else []
        specs += [FeatureSpec(row.channels, strides[number])] if number in layers else []
    last = FeatureSpec(rows[-1].channels * TAIL_EXPANSION, strides[-1])
    return (*specs, last) if len(rows) + 1 in layers else tuple(specs)
