"""RoIAlign (He et al., "Mask R-CNN", 2017), quick on CPUs: its backward pass, and that of channels-last maps.

Forward it is torchvision's, to the last bit where channels are outermost. Its backward pass on a CPU adds every
sample's share to four cells one by one, which takes a third of a training step. But bilinear sampling is separable:
a region's features are Y F X^T, with Y (S, H) and X (S, W) the weights of its rows and columns, and
so the gradient of the map is the sum of Y^T G X over the regions, products of small matrices.

Where channels are innermost the map is a table of pixels, and a bin a weighted sum of some of its rows, by the
products of those weights: an embedding bag, which takes an eighth of the time of torchvision's operator and differs by
the order in which it adds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor
from torch.autograd.function import once_differentiable
from torchvision.ops import roi_align as torchvision_roi_align

CHUNK = 128
"""Regions whose bins' pixels are listed together."""


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


def pools_channels_last(feature: Tensor) -> bool:
    """Whether what is pooled of a map (N, C, H, W) has its channels innermost, as the map has."""
    return feature.device.type == "cpu" and feature.stride(1) == 1 and not feature.is_contiguous()


def _forward(feature: Tensor, rois: Tensor, sampling: Sampling) -> Tensor:
    if pools_channels_last(feature):
        return _channels_last(feature, rois, sampling)
    pooled: Tensor = torchvision_roi_align(
        feature,
        rois,
        sampling.bins,
        spatial_scale=1 / sampling.stride,
        sampling_ratio=sampling.ratio,
        aligned=sampling.aligned,
    )
    return pooled


def _channels_last(feature: Tensor, rois: Tensor, sampling: Sampling) -> Tensor:
    """The same of a map whose channels are innermost, as those of what is pooled (R, C, S, S) are."""
    batch, channels, height, width = feature.shape
    pixels = feature.permute(0, 2, 3, 1).reshape(batch * height * width, channels)
    pooled = pixels.new_empty((len(rois), sampling.bins, sampling.bins, channels))
    for out, chunk in zip(pooled.split(CHUNK), rois.split(CHUNK), strict=True):  # type: ignore[no-untyped-call] # torch's own
        indices, weights, offsets = _bin_pixels(chunk, sampling, height, width)
        sums = F.embedding_bag(indices, pixels, offsets, mode="sum", per_sample_weights=weights)  # (R * S * S, C)
        out.copy_(sums.view(out.shape))
    return pooled.permute(0, 3, 1, 2)


def _bin_pixels(rois: Tensor, sampling: Sampling, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The pixels that bins consist of: their places (P,) among those of all images, and their weights (P,).

    The third tensor (R * S * S,) says where the pixels of each bin begin.
    """
    size = sampling.bins
    rows, columns = _region_weights(rois, sampling, height, width)  # (R, S, H), (R, S, W)
    (top, tall), (left, wide) = _extent(rows), _extent(columns)  # (R, S) each
    counts = (tall[:, :, None] * wide[:, None]).flatten()
    starts = counts.cumsum(0) - counts
    total = int(counts.sum())
    bins = torch.repeat_interleave(counts, output_size=total)  # (P,), of R * S * S
    place = torch.arange(total) - starts[bins]  # (P,), in its bin
    row = bins.div(size, rounding_mode="floor")  # (P,), of R * S
    region = row.div(size, rounding_mode="floor")
    column = region * size + bins - row * size  # (P,), of R * S
    across = wide.flatten()[column]
    below = place.div(across, rounding_mode="floor")
    y = top.flatten()[row] + below
    x = left.flatten()[column] + place - below * across
    weights = rows.flatten()[row * height + y] * columns.flatten()[column * width + x]
    return (rois[:, 0].long()[region] * height + y) * width + x, weights, starts


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
        rows, columns = _region_weights(rois, sampling, height, width)  # (R, S, H), (R, S, W)
        total = gradient.new_zeros(ctx.shape)
        extents = (*_extent(rows.any(dim=1)), *_extent(columns.any(dim=1)), rois[:, 0].long())
        for i, (top, tall, left, wide, image) in enumerate(torch.stack(extents, dim=1).tolist()):
            down, right = slice(top, top + tall), slice(left, left + wide)
            across = gradient[i].reshape(channels * size, size) @ columns[i, :, right]  # (C * S, w)
            total[image, :, down, right] += rows[i, :, down].t() @ across.view(channels, size, -1)  # (C, h, w)
        return total, None, None


def _region_weights(rois: Tensor, sampling: Sampling, height: int, width: int) -> tuple[Tensor, Tensor]:
    """What rows (R, S, H) and columns (R, S, W) of a map contribute to the bins of regions (R, 5)."""
    # A corner that is no number, of a model that has diverged, is no cell either.
    cells = rois[:, 1:].nan_to_num(nan=0.0) * (1 / sampling.stride)
    if sampling.aligned:
        cells = cells - 0.5
    else:
        cells = torch.cat((cells[:, :2], torch.maximum(cells[:, 2:], cells[:, :2] + 1)), dim=1)
    rows = axis_weights(cells[:, 1], cells[:, 3], sampling.bins, height, sampling.ratio)
    return rows, axis_weights(cells[:, 0], cells[:, 2], sampling.bins, width, sampling.ratio)


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
    # (R, S), (R, K): torchvision's own steps, for its rounding
    bin_starts = start[:, None] + torch.arange(bins) * bin_size[:, None]
    offsets = (places + 0.5) * bin_size[:, None] / count[:, None]
    position = bin_starts[:, :, None] + offsets[:, None]  # (R, S, K)
    used = (places < samples[:, None])[:, None] & (position >= -1) & (position <= length)  # (R, S, K)
    position = position.clamp(0, length - 1)
    low = position.floor()
    share = position - low  # of the next cell
    scale = used / count[:, None, None]
    weights = position.new_zeros(len(start), bins, length)
    weights.scatter_add_(2, low.long(), (1 - share) * scale)
    weights.scatter_add_(2, (low.long() + 1).clamp(max=length - 1), share * scale)
    return weights


def _extent(weights: Tensor) -> tuple[Tensor, Tensor]:
    """The first cell of an axis (..., L) that is touched, and the cells up to the last, (...) each; 0, 0 for none."""
    touched = (weights != 0).to(torch.uint8)
    first, behind = touched.argmax(dim=-1), touched.flip(-1).argmax(dim=-1)
    some = touched.amax(dim=-1)
    return first * some, (touched.shape[-1] - behind - first) * some
