"""Pyramids of SSD (Liu et al., 2016) and SSDLite (Sandler et al., 2018): ever smaller maps, each of the one before."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.models.layers.conv import ConvNorm
from zoo.models.layers.init import init_uniform
from zoo.types import FeatureSpec

FC_CHANNELS = 1024
"""Of fc6 and fc7."""

SCALE = 20.0
"""What the length of every cell's vector of conv4_3 begins with."""

SSD300_LEVELS = ((256, 512, 2), (128, 256, 2), (128, 256, 1), (128, 256, 1))
"""Channels inside each extra block and out of it, and its stride: conv8 to conv11."""

SSDLITE_CHANNELS = (512, 256, 256, 128)
"""Of what each extra block of SSDLite gives."""

SSDLITE_STD = 0.03
"""Spread of the weights that SSDLite's own layers begin with."""


class Ssd300Neck(nn.Module):
    """VGG-16's two maps to six: conv4_3 scaled to one length, fc7 on conv5_3, and four blocks beyond.

    The fully connected layers fc6 and fc7 are convolutions here, fc6 a dilated 3x3.

    Args:
        in_specs: of conv4_3 and conv5_3.

    Attributes:
        out_specs: channels and stride of each output. The last two blocks lose their border instead of halving.
    """

    def __init__(self, in_specs: Sequence[FeatureSpec]) -> None:
        super().__init__()
        finest, coarsest = in_specs
        self.scale = nn.Parameter(torch.full((finest.channels,), SCALE))
        self.fc6 = nn.Conv2d(coarsest.channels, FC_CHANNELS, 3, padding=6, dilation=6)
        self.fc7 = nn.Conv2d(FC_CHANNELS, FC_CHANNELS, 1)
        self.blocks = nn.ModuleList()
        specs = [finest, FeatureSpec(FC_CHANNELS, coarsest.stride)]
        for inner, channels, stride in SSD300_LEVELS:
            self.blocks.append(
                nn.Sequential(
                    nn.Conv2d(specs[-1].channels, inner, 1),
                    nn.ReLU(inplace=True),
                    nn.Conv2d(inner, channels, 3, stride=stride, padding=stride - 1),
                    nn.ReLU(inplace=True),
                )
            )
            specs.append(FeatureSpec(channels, specs[-1].stride * stride))
        self.out_specs = tuple(specs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                init_uniform(module.weight, "xavier")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type] # these convolutions have a bias

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """(conv4_3, conv5_3) to conv4_3, each cell's vector of a channel's own scale, fc7, and conv8 to conv11."""
        conv4, conv5 = features
        pooled = F.max_pool2d(conv5, 3, stride=1, padding=1)
        x = F.relu(self.fc7(F.relu(self.fc6(pooled))))
        maps = [F.normalize(conv4) * self.scale[:, None, None], x]
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return tuple(maps)


class SsdLiteNeck(nn.Module):
    """A backbone's maps, and four blocks of stride 2 beyond the coarsest: 1x1, depthwise 3x3, 1x1.

    Args:
        in_specs: of the backbone's maps, fine to coarse.
        norm_eps: added to the variance by the normalisation.
        norm_momentum: share of a new batch in the running statistics.

    Attributes:
        out_specs: channels and stride of each output.
    """

    def __init__(self, in_specs: Sequence[FeatureSpec], norm_eps: float = 1e-3, norm_momentum: float = 0.03) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        specs = list(in_specs)
        for channels in SSDLITE_CHANNELS:
            inner = channels // 2
            convs = [(specs[-1].channels, inner, 1, 1, 1), (inner, inner, 3, 2, inner), (inner, channels, 1, 1, 1)]
            self.blocks.append(
                nn.Sequential(
                    *(
                        ConvNorm(
                            *(before, after, kernel_size),
                            stride=stride,
                            groups=groups,
                            activation=nn.ReLU6(inplace=True),
                            eps=norm_eps,
                            momentum=norm_momentum,
                        )
                        for before, after, kernel_size, stride, groups in convs
                    )
                )
            )
            specs.append(FeatureSpec(channels, specs[-1].stride * 2))
        self.out_specs = tuple(specs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=SSDLITE_STD)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The backbone's maps, and one more of each block, each half as high and wide as that before.

        Raises:
            UsageError: a batch in training is of one image, whose last map has a single cell: it has no variance.
        """
        maps = list(features)
        for block in self.blocks:
            if self.training and len(maps[-1]) == 1 and max(maps[-1].shape[2:]) <= 2:
                message = "SSDLite cannot be trained on one image at a time: of one cell there is no variance"
                raise UsageError(message, next_step="give batch_size=2 or more")
            maps.append(block(maps[-1]))
        return tuple(maps)
