"""RoIAlign (He et al., "Mask R-CNN", 2017) with a quick backward pass on CPUs.

Forward it is torchvision's, to the last bit. Its backward pass on a CPU adds every sample's share
to four cells one by one, which takes a third of a training step. But bilinear sampling is separable:
a region's features are Y F X^T, with Y (S, H) and X (S, W) the weights of its rows and columns, and
so the gradient of the map is the sum of Y^T G X over the regions, products of small matrices.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torchvision.ops import roi_align as torchvision_roi_align


class Sampling(NamedTuple):
    """Where the samples of a region are taken.

    Attributes:
        bins: a side.
        stride: of the map, in input pixels.
        aligned: half-pixel centres; without them a region is at least one cell large.
        ratio: samples a side of each bin; 0: as many as the bin has cells.
    """

    bins: int
    stride: int
    aligned: bool = True
    ratio: int = 0


def roi_align(
    feature: Tensor, rois: Tensor, output_size: int, stride: int, aligned: bool = True, sampling_ratio: int = 0
) -> Tensor:
    """Average of bilinear samples in each bin of each region (R, C, output_size, output_size).

    Args:
        feature: (N, C, H, W).
        rois: (R, 5), image index and xyxy in input pixels; they get no gradient.
        output_size: bins a side.
        stride: of the map, in input pixels.
        aligned: half-pixel centres; without them a region is at least one cell large.
        sampling_ratio: samples a side of each bin; 0: as many as the bin has cells.
    """
    sampling = Sampling(output_size, stride, aligned, sampling_ratio)
    if feature.device.type == "cpu" and feature.requires_grad and torch.is_grad_enabled():
        pooled: Tensor = _SeparableRoiAlign.apply(feature, rois.detach(), sampling)
        return pooled
    return _forward(feature, rois, sampling)


def _forward(feature: Tensor, rois: Tensor, sampling: Sampling) -> Tensor:
    pooled: Tensor = torchvision_roi_align(
        _rows_innermost(feature),
        rois,
        sampling.bins,
        spatial_scale=1 / sampling.stride,
        sampling_ratio=sampling.ratio,
        aligned=sampling.aligned,
    )
    return pooled


def _rows_innermost(feature: Tensor) -> Tensor:
    """A map (N, C, H, W) as the operator on CPUs takes it; its own copy of a channels-last one takes long.

    torch transposes matrices block by block, a third of the time, and nothing else.
    """
    if feature.device.type != "cpu" or feature.is_contiguous():
        return feature
    batch, channels, height, width = feature.shape
    rows = torch.empty((batch, channels, height * width), dtype=feature.dtype)
    for own, pixels in zip(rows, feature.permute(0, 2, 3, 1).reshape(batch, height * width, channels), strict=True):
        own.copy_(pixels.T)
    return rows.view(feature.shape)


class _SeparableRoiAlign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feature: Tensor, rois: Tensor, sampling: Sampling) -> Tensor:
        ctx.save_for_backward(rois)
        ctx.shape, ctx.sampling = feature.shape, sampling
        return _forward(feature, rois, sampling)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (rois,) = ctx.saved_tensors
        sampling: Sampling = ctx.sampling
        size, (_, channels, height, width) = sampling.bins, ctx.shape
        cells = rois[:, 1:] / sampling.stride
        if sampling.aligned:
            cells = cells - 0.5
        else:
            cells = torch.cat((cells[:, :2], torch.maximum(cells[:, 2:], cells[:, :2] + 1)), dim=1)
        rows = axis_weights(cells[:, 1], cells[:, 3], size, height, sampling.ratio)  # (R, S, H)
        columns = axis_weights(cells[:, 0], cells[:, 2], size, width, sampling.ratio)  # (R, S, W)
        total = gradient.new_zeros(ctx.shape)
        windows = zip(_extent(rows), _extent(columns), rois[:, 0].long().tolist(), strict=True)
        for i, ((top, bottom), (left, right), image) in enumerate(windows):
            across = gradient[i].reshape(channels * size, size) @ columns[i, :, left:right]  # (C * S, w)
            down = rows[i, :, top:bottom].t() @ across.view(channels, size, -1)  # (C, h, w)
            total[image, :, top:bottom, left:right] += down
        return total, None, None


def axis_weights(start: Tensor, end: Tensor, bins: int, length: int, ratio: int = 0) -> Tensor:
    """What each cell of an axis contributes to each bin of each region, (R, bins, length).

    Args:
        start: (R,), in cells, from the centre of the first.
        end: (R,), in cells, from the centre of the first.
        bins: S.
        length: cells of the axis.
        ratio: samples in each bin; 0: as many as it has cells.
    """
    bin_size = (end - start) / bins
    # (R,) samples in each bin; a region without extent has none
    samples = torch.full_like(bin_size, ratio) if ratio else bin_size.ceil()
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
