"""What ResNets are put together of beside the plain parts: stems, shortcuts, and other 3x3."""

from __future__ import annotations

import functools

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from zoo.models.backbones.res2net import MultiScaleConv3x3
from zoo.models.backbones.resnet import (
    ResNet,
    always_projection,
    deep_stem,
    deformable_conv3x3,
    pooled_projection,
    projection,
)
from zoo.models.layers.conv import ConvNorm, fold_batch_norm
from zoo.models.layers.deform_conv import DeformConvNorm
from zoo.run.flops import MISSING


def as_sum(module: nn.Module) -> nn.Module:
    """The module with weights of 1, in eval mode: convolutions add up what they see."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.ones_(part.weight)
        if isinstance(part, nn.BatchNorm2d):
            part.eps = 0.0
    return module.eval()


@torch.inference_mode()
def test_pooled_projection_averages_before_it_projects() -> None:
    x = torch.tensor([[[[1.0, 2, 10], [3, 4, 20], [5, 7, 90]]]])
    assert as_sum(pooled_projection(1, 2, 2))(x)[0, 0].tolist() == [[2.5, 15], [6, 90]]  # an odd border: what it has
    assert as_sum(projection(1, 2, 2))(x)[0, 0].tolist() == [[1, 10], [5, 90]]
    assert as_sum(pooled_projection(1, 2, 1))(x)[0, 0].tolist() == x[0, 0].tolist()


def test_shortcuts_are_the_identity_where_it_fits_save_where_they_are_always_there() -> None:
    assert isinstance(projection(4, 4, 1), nn.Identity)
    assert isinstance(pooled_projection(4, 4, 1), nn.Identity)
    assert isinstance(always_projection(4, 4, 1), ConvNorm)


def test_a_deep_stem_has_three_convolutions() -> None:
    stem = deep_stem(64)
    convs = [module for module in stem.modules() if isinstance(module, nn.Conv2d)]
    assert [(conv.in_channels, conv.out_channels, conv.stride[0]) for conv in convs] == [
        (3, 32, 2),
        (32, 32, 1),
        (32, 64, 1),
    ]
    assert tuple(stem(torch.zeros(1, 3, 10, 12)).shape) == (1, 64, 5, 6)


def moved(dy: float, dx: float, weight: float) -> tuple[DeformConvNorm, Tensor]:
    """A 3x3 whose middle alone counts, moved and weighted alike everywhere, and an image."""
    layer = DeformConvNorm(1, 1)
    as_sum(layer)
    with torch.no_grad():
        layer.conv.weight.zero_()[0, 0, 1, 1] = 1
        layer.conv_offset.weight.zero_()
        bias = layer.conv_offset.bias
        assert bias is not None
        bias[:18] = torch.tensor((dy, dx)).repeat(9)
        bias[18:] = torch.tensor(weight).logit()
    return layer, torch.arange(25.0).view(1, 1, 5, 5)


@torch.inference_mode()
def test_deformable_samples_are_moved_down_and_right_and_weighted() -> None:
    layer, x = moved(dy=1, dx=0.5, weight=0.25)
    assert layer(x)[0, 0, 1, 1].item() == pytest.approx(0.25 * (11 + 12) / 2)  # (2, 1.5)
    assert layer(x)[0, 0, 4].tolist() == [0] * 5  # beyond the last row


@torch.inference_mode()
def test_an_unmoved_deformable_convolution_is_a_plain_one_of_half_the_weight() -> None:
    torch.manual_seed(0)
    layer, x = DeformConvNorm(4, 6, stride=2, groups=2).eval(), torch.randn(1, 4, 7, 9)
    plain = F.conv2d(x, layer.conv.weight, stride=2, padding=1, groups=2) / (1 + 1e-5) ** 0.5
    assert torch.allclose(layer(x), plain / 2, atol=1e-6)


@torch.inference_mode()
def test_folding_a_deformable_convolution_changes_nothing_but_rounding() -> None:
    torch.manual_seed(0)
    layer, x = DeformConvNorm(3, 5, activation=nn.ReLU()).eval(), torch.randn(2, 3, 6, 6)
    for tensor in layer.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.2, 0.9)
    before = layer(x)
    assert torch.allclose(before, fold_batch_norm(layer)(x), atol=1e-5)
    assert isinstance(layer.norm, nn.Identity)


@torch.inference_mode()
def test_the_work_of_a_deformable_convolution_is_counted() -> None:
    with FlopCounterMode(display=False, custom_mapping=dict(MISSING)) as counter:
        DeformConvNorm(4, 6).eval()(torch.zeros(1, 4, 5, 5))
    assert counter.get_total_flops() == 2 * 25 * 9 * 4 * (6 + 27)


@torch.inference_mode()
def test_scales_see_each_other_only_where_the_size_stays() -> None:
    cell = torch.tensor([1.0, 10, 100, 7]).view(1, 4, 1, 1)
    assert as_sum(MultiScaleConv3x3(4, 4, 1, 1, 1))(cell).flatten().tolist() == [1, 11, 111, 7]
    x = torch.ones(1, 4, 4, 4)
    halved = as_sum(MultiScaleConv3x3(4, 4, 2, 1, 1))(x)
    assert halved[0, :3, 1, 1].tolist() == [9, 9, 9]
    assert halved[0, 3].tolist() == [[1, 1], [1, 1]]  # a window at the border averages what it has


def test_splits_are_equal() -> None:
    with pytest.raises(ValueError, match="no 4 equal splits"):
        MultiScaleConv3x3(6, 6, 1, 1, 1)


def test_the_other_3x3_stands_in_its_stages_only() -> None:
    with torch.device("meta"):
        backbone = ResNet(50, conv3x3=deformable_conv3x3, conv3x3_stages=(2, 3, 4))
        res2net = ResNet(50, base_width=104, conv3x3=functools.partial(MultiScaleConv3x3, scales=4))
    deformable = {name.split(".")[0] for name, part in backbone.named_modules() if isinstance(part, DeformConvNorm)}
    assert deformable == {"layer2", "layer3", "layer4"}
    widths = [res2net.get_submodule(f"layer{stage}.0.conv2").width for stage in (1, 2, 3, 4)]
    assert widths == [26, 52, 104, 208]


def test_basic_blocks_take_a_shortcut_but_no_other_3x3() -> None:
    with torch.device("meta"):
        backbone = ResNet(34, shortcut=always_projection)
    projected = [
        name for name, part in backbone.named_modules() if name.endswith("shortcut") and len(list(part.modules())) > 1
    ]
    assert projected == [f"layer{stage}.0.shortcut" for stage in (1, 2, 3, 4)]
    assert [spec.channels for spec in backbone.out_specs] == [64, 128, 256, 512]
    with pytest.raises(ValueError, match="plain 3x3"), torch.device("meta"):
        ResNet(34, conv3x3=deformable_conv3x3)


@torch.no_grad()
def test_without_a_file_values_do_not_grow_with_the_depth_where_normalisations_stay_as_they_were() -> None:
    torch.manual_seed(0)
    network = ResNet(101, out_stages=(3,), norm_affine="fixed", norm_eval=True).eval()
    (found,) = network(torch.randn(1, 3, 64, 64))
    assert 0.05 < float(found.std()) < 5
    shared = network.next_stage().eval()
    assert 0.05 < float(shared(found).std()) < 5
    trained = ResNet(10, width=8)
    assert {float(module.weight.mean()) for module in trained.modules() if isinstance(module, nn.BatchNorm2d)} == {1.0}
