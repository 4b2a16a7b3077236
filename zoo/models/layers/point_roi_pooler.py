"""RoIAlign of points, the averages of which are pooled: what faster-rcnn.pytorch had before RoIAlign was settled."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from zoo.types import FeatureSpec

CHUNK = 64
"""Regions that are sampled together: their points have more values than what is pooled of them."""


class PointRoiPooler:
    """Averages of 2x2 neighbouring points of a grid over each region of the one feature map.

    A grid has a point more a side than the output has bins. Points go from the region's near corner to its far one, a
    whole cell of the map added. They are bilinear samples, where a cell's value lies at its index: outside the map
    they are 0, and beyond the middle of its last row or column they go on as the last two cells do (extrapolation).

    Args:
        in_specs: of the feature maps; there must be one.
        output_size: height and width of the pooled features.

    Raises:
        ValueError: there are several maps.
    """

    def __init__(self, in_specs: Sequence[FeatureSpec], output_size: int) -> None:
        if len(in_specs) > 1:
            raise ValueError(f"regions are cut from one map, not {len(in_specs)}")
        self.stride = in_specs[0].stride
        self.output_size = output_size

    def prepare(self, features: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
        """The maps as they are read; see `zoo.models.layers.roi_pooler.Pooler`."""
        return [feature.to(dtype) for feature in features]

    def __call__(self, features: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Pooled features (R, C, output_size, output_size); see `zoo.models.layers.roi_pooler.Pooler`."""
        (feature,) = self.prepare(features, rois.dtype)
        count, channels, height, width = feature.shape
        points = self.output_size + 1  # P, a side
        # Cells as rows of one table, of which every point is a weighted sum of four.
        cells = feature.permute(0, 2, 3, 1).reshape(count * height * width, channels)
        rows, row_weights = self._axis(rois[:, 2], rois[:, 4], height)  # (R, P, 2)
        columns, column_weights = self._axis(rois[:, 1], rois[:, 3], width)
        first = rois[:, 0].long() * (height * width)  # (R,) of each region's image
        indices = first[:, None, None, None, None] + _grid(rows * width, columns, torch.add)  # (R, P, P, 2, 2)
        weights = _grid(row_weights, column_weights, torch.mul)
        pooled = [feature.new_empty((0, channels, self.output_size, self.output_size))]
        for index, weight in zip(indices.split(CHUNK), weights.split(CHUNK), strict=True):  # type: ignore[no-untyped-call] # torch's own
            four = (len(index) * points * points, 4)
            sampled = F.embedding_bag(
                index.reshape(four), cells, per_sample_weights=weight.reshape(four), mode="sum"
            )  # (R * P * P, C)
            grid = sampled.view(len(index), points, points, channels).permute(0, 3, 1, 2)
            pooled.append(F.avg_pool2d(grid, 2, stride=1).contiguous())  # (R, C, P, P) -> (R, C, P - 1, P - 1)
        return torch.cat(pooled)

    def _axis(self, near: Tensor, far: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """The two cells (R, P, 2) that each point lies between along an axis, and their weights (R, P, 2).

        Args:
            near: (R,), where regions begin, in input pixels.
            far: (R,), where they end.
            length: cells of the map along the axis.
        """
        start, end = near / self.stride, far / self.stride
        step = (end - start + 1).clamp(min=0) / self.output_size
        numbers = torch.arange(self.output_size + 1, dtype=near.dtype, device=near.device)
        places = start[:, None] + numbers * step[:, None]  # (R, P)
        inside = (places >= 0) & (places < length)
        # A place that is no number, of a model that has diverged, is no cell either: its sample is no number.
        low = places.floor().nan_to_num(nan=0.0).clamp(0, max(length - 2, 0))
        share = places - low  # of the second cell; from 1 to 2 beyond the last but one
        cells = torch.stack((low, (low + 1).clamp(max=length - 1)), dim=-1).long()
        return cells, torch.stack((1 - share, share), dim=-1) * inside[..., None]


def _grid(rows: Tensor, columns: Tensor, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Values of rows and of columns (R, P, 2) each, combined for every point: (R, P, P, 2, 2)."""
    return combine(rows[:, :, None, :, None], columns[:, None, :, None, :])
