"""RoIAlign on a feature map or pyramid (He et al., 2017; level rule of Lin et al., 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor

from zoo.models.boxes import EXCLUSIVE, BoxConvention
from zoo.models.layers.roi_align import pools_channels_last, roi_align
from zoo.types import FeatureSpec


class Pooler(Protocol):
    """Features of each region, of one size.

    Attributes:
        output_size: height and width of the pooled features.
    """

    output_size: int

    def prepare(self, features: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
        """The maps as they are read, for several calls of regions of that type; each does it itself where nobody has.

        Args:
            features: one map (N, C, H, W) a level.
            dtype: of the regions.
        """
        ...

    def __call__(self, features: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Pooled features (R, C, output_size, output_size).

        Args:
            features: one map (N, C, H, W) a level.
            rois: (R, 5), image index in the batch and xyxy in input pixels.
        """
        ...


class RoiPooler:
    """Features of each region, cut from the one level that fits its size.

    Args:
        in_specs: of the feature maps, fine to coarse.
        output_size: height and width of the pooled features.
        levels: number of maps, from the finest on, that regions are cut from; coarser ones serve proposals only.
        finest_size: side in pixels from which regions leave the finest level.
        epsilon: added to a region's side in units of `finest_size` before the logarithm.
        epsilon_of: "side", as above, or "level": added to the logarithm (torchvision).
        aligned: half-pixel centres; without them regions are shifted by half a cell, and at least one cell large.
        sampling_ratio: samples a side of each bin; 0: as many as the bin has cells.
        convention: of the regions, whose area decides about the level.
    """

    def __init__(
        self,
        in_specs: Sequence[FeatureSpec],
        output_size: int,
        levels: int = 4,
        finest_size: float = 56.0,
        aligned: bool = True,
        sampling_ratio: int = 0,
        convention: BoxConvention = EXCLUSIVE,
        epsilon: float = 1e-6,
        epsilon_of: Literal["side", "level"] = "side",
    ) -> None:
        if epsilon_of not in ("side", "level"):
            raise ValueError(f"epsilon_of: {epsilon_of!r} is neither 'side' nor 'level'")
        self.strides = tuple(spec.stride for spec in in_specs[:levels])
        self.output_size = output_size
        self.finest_size = finest_size
        self.aligned = aligned
        self.sampling_ratio = sampling_ratio
        self.convention = convention
        self.epsilon = epsilon
        self.epsilon_of = epsilon_of

    def levels(self, rois: Tensor) -> Tensor:
        """Level (R,) of rois (R, 5): floor(log2(side / finest_size)), side = sqrt(area), within the pyramid."""
        side = self.convention.area(rois[:, 1:]).sqrt()
        if self.epsilon_of == "side":
            level = (side / self.finest_size + self.epsilon).log2()
        else:
            # Counted from stride 1, as there: float32 rounds what is added to 4 more coarsely than what is added to 0.
            level = (4 + (side / (4 * self.finest_size)).log2() + self.epsilon).floor() - 2
        return level.clamp(0, len(self.strides) - 1).to(torch.int64)  # which leaves off what follows the point

    def prepare(self, features: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
        """The maps as they are read; see `Pooler`."""
        # Autocast hands over half-precision maps; sampling stays in one type, that of the boxes.
        levels = len(self.strides)
        return [*(_as_sampled(feature, dtype) for feature in features[:levels]), *features[levels:]]

    def __call__(self, features: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Pooled features (R, C, output_size, output_size); see `Pooler`."""
        features = self.prepare(features[: len(self.strides)], rois.dtype)
        if len(self.strides) == 1:
            return self._align(features[0], rois, self.strides[0])
        levels, order = self.levels(rois).sort(stable=True)
        counts = (levels[:, None] == torch.arange(len(self.strides), device=levels.device)).sum(dim=0)
        sizes: list[int] = counts.tolist()  # the host waits once for all levels
        shape = (len(rois), features[0].shape[1], self.output_size, self.output_size)
        layout = torch.channels_last if pools_channels_last(features[0]) else torch.contiguous_format
        pooled = torch.empty(shape, dtype=features[0].dtype, device=rois.device, memory_format=layout)
        parts = zip(features, self.strides, torch.split(rois[order], sizes), torch.split(order, sizes), strict=True)
        for feature, stride, chosen, places in parts:
            if len(chosen):
                pooled[places] = self._align(feature, chosen, stride)
        return pooled

    def _align(self, feature: Tensor, rois: Tensor, stride: int) -> Tensor:
        return roi_align(feature, rois, self.output_size, stride, self.aligned, self.sampling_ratio)


def _as_sampled(feature: Tensor, dtype: torch.dtype) -> Tensor:
    """A map (N, C, H, W) in the type of the regions, and on a GPU as RoIAlign reads it, in one copy at most.

    Its operator would copy a channels-last map itself, in every call.
    """
    if feature.device.type == "cpu":
        return feature.to(dtype)
    return feature.to(dtype, memory_format=torch.contiguous_format)
