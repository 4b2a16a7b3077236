"""RoIAlign on a feature map or pyramid (He et al., 2017; level rule of Lin et al., 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.models.layers.roi_align import roi_align
from zoo.types import FeatureSpec


class RoiPooler:
    """Features of each region, cut from the one level that fits its size.

    Bilinear with half-pixel centres ("aligned") and as many samples a bin as the bin has cells.

    Args:
        specs: of the levels regions are cut from, fine to coarse.
        output_size: height and width of the pooled features.
        finest_size: side in pixels from which regions leave the finest level.
    """

    def __init__(self, specs: Sequence[FeatureSpec], output_size: int, finest_size: float = 56.0) -> None:
        self.specs = tuple(specs)
        self.output_size = output_size
        self.finest_size = finest_size

    def levels(self, rois: Tensor) -> Tensor:
        """Level (R,) of rois (R, 5): floor(log2(side / finest_size)), side = sqrt(w * h), within the pyramid."""
        side = ((rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])).sqrt()
        return (side / self.finest_size + 1e-6).log2().floor().clamp(0, len(self.specs) - 1).to(torch.int64)

    def __call__(self, features: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Pooled features (R, C, output_size, output_size).

        Args:
            features: one map (N, C, H, W) a level.
            rois: (R, 5), image index in the batch and xyxy in input pixels.
        """
        # Autocast hands over half-precision maps; sampling stays in one type, that of the boxes.
        features = [feature.to(rois.dtype) for feature in features]
        if len(self.specs) == 1:
            return roi_align(features[0], rois, self.output_size, self.specs[0].stride)
        levels = self.levels(rois)
        pooled = features[0].new_zeros((len(rois), features[0].shape[1], self.output_size, self.output_size))
        for level, (feature, spec) in enumerate(zip(features, self.specs, strict=False)):
            chosen = (levels == level).nonzero()[:, 0]
            if len(chosen):
                pooled[chosen] = roi_align(feature, rois[chosen], self.output_size, spec.stride)
        return pooled
