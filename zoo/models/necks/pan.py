"""Path aggregation (Liu et al., "Path Aggregation Network for Instance Segmentation", 2018), as YOLOv8 has it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from zoo.models.layers.csp import C2f, conv_block
from zoo.types import FeatureSpec


class PAN(nn.Module):
    """Top-down, then bottom-up: neighbouring levels are concatenated and merged by a cross-stage partial block.

    Args:
        in_specs: channels and stride of three maps, fine to coarse; each output has those of the map it stands for.
        blocks: number of bottlenecks in each merging block.

    Attributes:
        out_specs: channels and stride of each output.
    """

    def __init__(self, in_specs: Sequence[FeatureSpec], blocks: int) -> None:
        super().__init__()
        strides = [spec.stride for spec in in_specs]
        if strides != [strides[0] * factor for factor in (1, 2, 4)]:
            raise ValueError(f"strides {strides}: three maps are needed, each half as large as the one before")
        fine, middle, coarse = (spec.channels for spec in in_specs)
        self.top_down_p4 = C2f(middle + coarse, middle, blocks, shortcut=False)
        self.top_down_p3 = C2f(fine + middle, fine, blocks, shortcut=False)
        self.reduce_p3 = conv_block(fine, fine, 3, stride=2)
        self.bottom_up_p4 = C2f(fine + middle, middle, blocks, shortcut=False)
        self.reduce_p4 = conv_block(middle, middle, 3, stride=2)
        self.bottom_up_p5 = C2f(middle + coarse, coarse, blocks, shortcut=False)
        self.out_specs = tuple(in_specs)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """(p3, p4, p5) to as many maps of the same shapes."""
        p3, p4, p5 = features
        p4 = self.top_down_p4(torch.cat((_double(p5), p4), dim=1))
        p3 = self.top_down_p3(torch.cat((_double(p4), p3), dim=1))
        p4 = self.bottom_up_p4(torch.cat((self.reduce_p3(p3), p4), dim=1))
        p5 = self.bottom_up_p5(torch.cat((self.reduce_p4(p4), p5), dim=1))
        return p3, p4, p5


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
