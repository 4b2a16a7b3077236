"""Feature Pyramid Network (Lin et al., "Feature Pyramid Networks for Object Detection", 2017)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from zoo.models.layers.conv import ConvNorm
from zoo.models.layers.init import UniformInit, init_uniform
from zoo.models.necks.extra_levels import ConvLevels, SubsampledLevel
from zoo.types import FeatureSpec


class FPN(nn.Module):
    """1x1 laterals, a top-down sum with nearest up-sampling, 3x3 outputs, and coarser levels beyond them.

    Args:
        in_specs: of the maps it gets, fine to coarse.
        channels: of every output.
        start: the first so many maps are left out, as RetinaNet leaves out c2.
        lateral_init: range of the laterals' first weights: by inputs and outputs ("xavier"), or by inputs ("lecun").
        output_init: range of the outputs' first weights, likewise.
        norm: batch normalisation after each lateral and output, which then have no biases.
        extra_levels: makes the coarser levels, from the channels of the coarsest map and of every output.

    Attributes:
        out_specs: channels and stride of each output: p2 to p6, or others with `start` and `extra_levels`.
    """

    def __init__(
        self,
        in_specs: Sequence[FeatureSpec],
        channels: int = 256,
        start: int = 0,
        lateral_init: UniformInit = "xavier",
        output_init: UniformInit = "xavier",
        norm: bool = False,
        extra_levels: Callable[[int, int], SubsampledLevel | ConvLevels] = SubsampledLevel,
    ) -> None:
        super().__init__()
        self.start = start
        in_specs = in_specs[start:]
        layer = ConvNorm if norm else _conv
        self.laterals = nn.ModuleList(layer(spec.channels, channels, 1) for spec in in_specs)
        self.outputs = nn.ModuleList(layer(channels, channels, 3) for _ in in_specs)
        self.extra_levels = extra_levels(in_specs[-1].channels, channels)
        strides = [spec.stride for spec in in_specs]
        strides += [strides[-1] * 2**level for level in range(1, self.extra_levels.count + 1)]
        self.out_specs = tuple(FeatureSpec(channels, stride) for stride in strides)
        for layers, init in ((self.laterals, lateral_init), (self.outputs, output_init)):
            for conv in layers.modules():
                if isinstance(conv, nn.Conv2d):
                    init_uniform(conv.weight, init)
                    if conv.bias is not None:
                        nn.init.zeros_(conv.bias)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """(c2, ..., c5) to (p2, ..., p6), or further, all with the same number of channels."""
        merged = [lateral(x) for lateral, x in zip(self.laterals, features[self.start :], strict=True)]
        for fine, coarse in reversed(list(pairwise(merged))):
            fine += F.interpolate(coarse, size=fine.shape[-2:], mode="nearest")  # in place: `coarse` is already final
        outputs = [conv(x) for conv, x in zip(self.outputs, merged, strict=True)]
        return (*outputs, *self.extra_levels(outputs[-1], features[-1]))


def _conv(in_channels: int, out_channels: int, kernel_size: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
