"""RoIAlign (He et al., "Mask R-CNN", 2017) with a quick backward pass on CPUs.

Forward it is torchvision's, to the last bit. Its backward pass on a CPU adds every sample's share
to four cells one by one, which takes a third of a training step. But bilinear sampling is separable:
a region's features are Y F X^T, with Y (S, H) and X (S, W) the weights of its rows and columns, and
so the gradient of the map is the sum of Y^T G X over the regions, products of small matrices.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torchvision.ops import roi_align as torchvision_roi_align


def roi_align(feature: Tensor, rois: Tensor, output_size: int, stride: int) -> Tensor:
    """Average of bilinear samples in each bin of each region (R, C, output_size, output_size).

    Half-pixel centres ("aligned"), and as many samples a bin as the bin has cells.

    Args:
        feature: (N, C, H, W).
        rois: (R, 5), image index and xyxy in input pixels; they get no gradient.
        output_size: bins a side.
        stride: of the map, in input pixels.
    """
    if feature.device.type == "cpu" and feature.requires_grad and torch.is_grad_enabled():
        pooled: Tensor = _SeparableRoiAlign.apply(feature, rois.detach(), output_size, stride)
        return pooled
    return _forward(feature, rois, output_size, stride)


def _forward(feature: Tensor, rois: Tensor, output_size: int, stride: int) -> Tensor:
    pooled: Tensor = torchvision_roi_align(
        feature, rois, output_size, spatial_scale=1 / stride, sampling_ratio=0, aligned=True
    )
    return pooled


class _SeparableRoiAlign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feature: Tensor, rois: Tensor, output_size: int, stride: int) -> Tensor:
        ctx.save_for_backward(rois)
        ctx.shape, ctx.output_size, ctx.stride = feature.shape, output_size, stride
        return _forward(feature, rois, output_size, stride)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (rois,) = ctx.saved_tensors
        size, (_, channels, height, width) = ctx.output_size, ctx.shape
        cells = rois[:, 1:] / ctx.stride - 0.5
        rows = axis_weights(cells[:, 1], cells[:, 3], size, height)  # (R, S, H)
        columns = axis_weights(cells[:, 0], cells[:, 2], size, width)  # (R, S, W)
        total = gradient.new_zeros(ctx.shape)
        windows = zip(_extent(rows), _extent(columns), rois[:, 0].long().tolist(), strict=True)
        for i, ((top, bottom), (left, right), image) in enumerate(windows):
            across = gradient[i].reshape(channels * size, size) @ columns[i, :, left:right]  # (C * S, w)
            down = rows[i, :, top:bottom].t() @ across.view(channels, size, -1)  # (C, h, w)
            total[image, :, top:bottom, left:right] += down
        return total, None, None, None


def axis_weights(start: Tensor, end: Tensor, bins: int, length: int) -> Tensor:
    """What each cell of an axis contributes to each bin of each region, (R, bins, length).

    Args:
        start: (R,), in cells, from the centre of the first.
        end: (R,), likewise.
        bins: S.
        length: cells of the axis.
    """
    bin_size = (end - start) / bins
    samples = bin_size.ceil()  # (R,), in each bin; a region without extent has none
    count = samples.clamp(min=1)
    places = torch.arange(int(count.max()) if len(count) else 1)  # K
    offsets = (places + 0.5) / count[:, None]  # (R, K), in bins
    position = start[:, None, None] + (torch.arange(bins)[:, None] + offsets[:, None]) * bin_size[:, None, None]
    used = (places < samples[:, None])[:, None] & (position >= -1) & (position <= length)  # (R, S, K)
    position = position.clamp(0, length - 1)
    low = position.floor()
    share = position - low  # of the next cell
    scale = used / count[:, None, None]
    weights = position.new_zeros(len(start), bins, length)
    weights.scatter_add_(2, low.long(), (1 - share) * scale)
    weights.scatter_add_(2, (low.long() + 1).clamp(max=length - 1), share * scale)
    return weights


def _extent(weights: Tensor) -> list[tuple[int, int]]:
    """The first cell that each region (R, S, L) touches, and the one after the last; (0, 0) for none."""
    touched = (weights != 0).any(dim=1).to(torch.uint8)  # (R, L)
    first = touched.argmax(dim=1)
    last = touched.shape[1] - touched.flip(1).argmax(dim=1)
    some = touched.any(dim=1)
    return list(zip((first * some).tolist(), (last * some).tolist(), strict=True))
