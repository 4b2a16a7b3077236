"""Wide 3x3 convolutions on one thread of a CPU by Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray, "Fast
Algorithms for Convolutional Neural Networks", 2016).

A tile of 4x4 outputs takes 36 products a channel instead of 144: of combinations of its 6x6 inputs with combinations of
the weights. oneDNN computes all 144. What filtering does is multiply polynomials by their values at points, here 0,
5/8, -5/8, 3/2, -3/2 and infinity. At the usual 1 and 2 rounding loses half as much again; here it loses about as much
as in oneDNN, which adds up all products one after another.

Legend: N images, C channels of the input, O of the output, T rows and U columns of tiles.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, library, nn

MIN_CHANNELS = 256
"""Of input and output: below, combining takes as long as the products that it saves."""

MIN_PIXELS = 64 * 64
"""Of a map, likewise."""

STRIPE = 2
"""Rows of tiles that are computed together: what lies between the steps stays in a cache."""

NEAR, FAR = 5 / 8, 3 / 2
"""Points, of either sign; they and their squares are exact in float32."""

TILE, WINDOW = 4, 6
"""Outputs and inputs of a tile, a side."""


class WinogradConv2d(nn.Conv2d):
    """A 3x3 convolution that is computed by minimal filtering where that is quicker, and as any other elsewhere.

    Nothing is kept: weights are combined in every pass, which takes a fiftieth of it.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002 - torch's name
        compute = winograd_conv3x3 if _pays(input, weight) else super()._conv_forward
        out: Tensor = compute(input, weight, bias)
        return out


def use_winograd(model: nn.Module) -> nn.Module:
    """Have wide 3x3 convolutions of a model computed by minimal filtering where that is quicker, in place."""
    for module in model.modules():
        if type(module) is nn.Conv2d and _fits(module):
            module.__class__ = WinogradConv2d
    return model


def _fits(conv: nn.Conv2d) -> bool:
    return (
        (conv.kernel_size, conv.stride, conv.padding, conv.dilation) == ((3, 3), (1, 1), (1, 1), (1, 1))
        and conv.groups == 1
        and conv.padding_mode == "zeros"
        and min(conv.in_channels, conv.out_channels) >= MIN_CHANNELS
    )


def _pays(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.stride(1) == 1  # channels innermost
        and x.shape[-2] * x.shape[-1] >= MIN_PIXELS
        and torch.get_num_threads() == 1  # several wait for each other after each of many short steps
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


@library.custom_op(
    "zoo::winograd_conv3x3",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor x, Tensor weight, Tensor? bias) -> Tensor",
)
def winograd_conv3x3(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution of stride 1 with a border of zeros, without a gradient; an operator, so that counters know it.

    Args:
        x: (N, C, H, W), channels innermost.
        weight: (O, C, 3, 3).
        bias: (O,).

    Returns:
        (N, O, H, W), channels innermost.
    """
    count, _, height, width = x.shape
    rows, columns = -(-height // TILE), -(-width // TILE)
    kernel = _combined_weights(weight)
    out = x.new_empty((count, TILE * rows, TILE * columns, len(weight)))
    for source, target in zip(x.permute(0, 2, 3, 1), out, strict=True):
        _convolve(source, kernel, bias, target)
    return out[:, :height, :width].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


@winograd_conv3x3.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: ARG001 - those of the operator
    count, _, height, width = x.shape
    return x.new_empty((count, height, width, len(weight))).permute(0, 3, 1, 2)


def _combined_weights(weight: Tensor) -> Tensor:
    """Weights (O, C, 3, 3) to what tiles are multiplied with, (36, C, O), columns before rows."""
    first = (1 / (NEAR * FAR) ** 2, 0.0, 0.0)
    factors = [first, *_at(NEAR, FAR), *_at(FAR, NEAR), (0.0, 0.0, 1.0)]
    by_points = weight.new_tensor(factors)  # (6, 3)
    kernel = by_points @ weight.permute(3, 2, 1, 0).reshape(3, -1)  # (6, 3 * C * O)
    return (by_points @ kernel.view(WINDOW, 3, -1)).view(WINDOW * WINDOW, weight.shape[1], len(weight))


def _at(point: float, other: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """A filter's value at a point and at its negative, by its weights, times what the polynomials' division leaves."""
    scale = 1 / (2 * point * (point**2 - other**2))
    return (scale, scale * point, scale * point**2), (scale, -scale * point, scale * point**2)


def _convolve(source: Tensor, kernel: Tensor, bias: Tensor | None, target: Tensor) -> None:
    """One map (H, W, C) to another (4 * T, 4 * U, O), a stripe of tiles at a time."""
    height, width, channels = source.shape
    rows, columns, out_channels = target.shape[0] // TILE, target.shape[1] // TILE, target.shape[2]
    stripe = min(STRIPE, rows)
    padded = source.new_zeros((TILE * stripe + 2, TILE * columns + 2, channels))
    lines = source.new_empty((WINDOW, stripe, TILE * columns + 2, channels))
    tiles = source.new_empty((WINDOW, WINDOW, stripe, columns, channels))
    products = source.new_empty((WINDOW, WINDOW, stripe, columns, out_channels))
    sums = source.new_empty((TILE, WINDOW, stripe, columns, out_channels))
    outputs = target.view(rows, TILE, columns, TILE, out_channels).permute(1, 3, 0, 2, 4)  # (4, 4, T, U, O)
    for begin in range(0, rows, stripe):
        own = min(stripe, rows - begin)
        first = TILE * begin - 1  # row of the map that is the first of `padded`
        top, bottom = max(first, 0), min(first + len(padded), height)
        padded[: top - first] = 0
        padded[top - first : bottom - first, 1 : width + 1] = source[top:bottom]
        padded[bottom - first :] = 0
        _combine([padded[i : i + TILE * stripe : TILE][:stripe] for i in range(WINDOW)], lines)
        _combine([lines[:, :, i : i + TILE * columns : TILE][:, :, :columns] for i in range(WINDOW)], tiles)
        torch.bmm(tiles.flatten(0, 1).flatten(1, 2), kernel, out=products.flatten(0, 1).flatten(1, 2))
        _collect(products, sums)
        _collect(sums.transpose(0, 1)[:, :, :own], outputs[:, :, begin : begin + own])
        if bias is not None:
            target[TILE * begin : TILE * (begin + own)] += bias


def _combine(x: Sequence[Tensor], out: Tensor) -> None:
    """Six neighbours along an axis to what a filter's values at the points are multiplied with, out (6, ...)."""
    near, far = NEAR**2, FAR**2
    for end, i in ((0, 0), (5, 1)):
        torch.sub(x[i + 4], x[i + 2], alpha=near + far, out=out[end]).add_(x[i], alpha=near * far)
    for place, point, other in ((1, NEAR, far), (3, FAR, near)):
        even, odd = torch.sub(x[4], x[2], alpha=other), torch.sub(x[3], x[1], alpha=other)
        torch.add(even, odd, alpha=point, out=out[place])
        torch.sub(even, odd, alpha=point, out=out[place + 1])


def _collect(products: Tensor, out: Tensor) -> None:
    """Products (6, ...) to four neighbouring outputs along an axis, out (4, ...)."""
    even, odd = products[1] + products[2], products[1] - products[2]
    far_even, far_odd = products[3] + products[4], products[3] - products[4]
    torch.add(products[0], even, alpha=1 / NEAR, out=out[0]).add_(far_even, alpha=1 / FAR)
    torch.add(odd, far_odd, out=out[1])
    torch.mul(even, NEAR, out=out[2]).add_(far_even, alpha=FAR)
    torch.add(products[5], odd, alpha=NEAR**2, out=out[3]).add_(far_odd, alpha=FAR**2)
