"""Convolutions by minimal filtering: as exact as any, where they pay, and nowhere else."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, library, nn
from torch.utils.flop_counter import FlopCounterMode

from zoo.models.layers import winograd as module
from zoo.models.layers.winograd import WinogradConv2d, use_winograd, winograd_conv3x3
from zoo.run.flops import MISSING
from zoo.run.onnx_export import pytorchs_own_tf32

LAST = torch.channels_last


def made(channels: int, out_channels: int, height: int, width: int, count: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Maps behind an activation, weights that keep their size, and biases."""
    torch.manual_seed(0)
    x = torch.randn(count, channels, height, width).relu().to(memory_format=LAST)
    return x, torch.randn(out_channels, channels, 3, 3) / (9 * channels) ** 0.5, torch.randn(out_channels)


@pytest.mark.parametrize(("height", "width", "count"), [(8, 12, 1), (37, 18, 2), (1, 3, 1)])
def test_values_are_those_of_the_convolution(height: int, width: int, count: int) -> None:
    x, weight, bias = (value.double() for value in made(5, 7, height, width, count))
    for given in (bias, None):
        out = winograd_conv3x3(x, weight, given)
        torch.testing.assert_close(out, F.conv2d(x, weight, given, padding=1), rtol=1e-12, atol=1e-12)
        assert out.is_contiguous(memory_format=LAST)


def test_rounding_loses_about_as_much_as_in_the_plain_one() -> None:
    x, weight, bias = made(256, 32, 40, 44)
    exact = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    plain, filtered = (
        (out - exact).abs() for out in (F.conv2d(x, weight, bias, padding=1), winograd_conv3x3(x, weight, bias))
    )
    assert filtered.square().mean().sqrt() < 1e-6  # values are about 1
    assert filtered.max() < 2 * plain.max() + 5e-6


def test_only_wide_plain_3x3_are_replaced_with_nothing_kept() -> None:
    conv = partial(nn.Conv2d, 256, kernel_size=3, padding=1, out_channels=256)
    odd = [partial(conv, stride=2), partial(conv, dilation=2), partial(conv, padding=0), partial(conv, groups=2)]
    odd += [partial(conv, kernel_size=1), partial(conv, out_channels=255)]
    with torch.device("meta"):
        layers = [make() for make in (conv, *odd)]
        model = nn.Sequential(*layers)
    keys = list(model.state_dict())
    use_winograd(model)
    assert [type(layer) for layer in layers] == [WinogradConv2d] + [nn.Conv2d] * 6
    assert list(model.state_dict()) == keys
    assert vars(layers[0]).keys() == vars(layers[1]).keys()


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> WinogradConv2d:
    monkeypatch.setattr(module, "MIN_CHANNELS", 4)
    monkeypatch.setattr(module, "MIN_PIXELS", 80)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    torch.manual_seed(0)
    conv = use_winograd(nn.Conv2d(4, 4, 3, padding=1))
    assert isinstance(conv, WinogradConv2d)
    return conv.to(memory_format=LAST)


def filters(call: Callable[[], object]) -> bool:
    """Whether a call computes by minimal filtering."""
    with torch.profiler.profile() as profile:
        call()
    return any("winograd" in event.key for event in profile.key_averages())


def test_it_is_used_where_it_pays_alone(layer: WinogradConv2d, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(1, 4, 8, 10).to(memory_format=LAST)
    assert not filters(lambda: layer(x))  # there may be a gradient
    with torch.no_grad():
        assert filters(lambda: layer(x))
        assert filters(lambda: copy.deepcopy(layer)(x))
        assert not filters(lambda: layer(x.contiguous()))  # the plain layout keeps its bits
        assert not filters(lambda: layer(x[:, :, 1:]))
        assert not filters(lambda: copy.deepcopy(layer).double()(x.double()))
        with torch.autocast("cpu", torch.bfloat16):
            assert not filters(lambda: layer(x))
        with pytorchs_own_tf32():
            exported = torch.export.export(layer, (x,))
        assert "winograd" not in str(exported.graph)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
        assert not filters(lambda: layer(x))


def test_new_weights_count_however_they_are_written(layer: WinogradConv2d) -> None:
    x = torch.randn(1, 4, 8, 10).to(memory_format=LAST)
    with torch.inference_mode():
        before = layer(x)
        layer.weight.data.mul_(2)
        assert layer.bias is not None
        layer.bias.data.mul_(2)
        torch.testing.assert_close(layer(x), before * 2)


def test_it_counts_as_the_convolution_that_it_is(layer: WinogradConv2d) -> None:
    x = torch.randn(2, 4, 9, 10).to(memory_format=LAST)
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=dict(MISSING)) as counter:
        assert layer(x).shape == (2, 4, 9, 10)
    assert counter.get_total_flops() == 2 * (2 * 4 * 9 * 10) * 4 * 9


def test_the_operator_says_what_it_does() -> None:
    library.opcheck(winograd_conv3x3, made(4, 6, 5, 7), test_utils=("test_schema", "test_faketensor"))
