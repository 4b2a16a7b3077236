"""Backbone, neck, pooler and heads: contracts between them, and what each does on tiny inputs."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.poolers import LevelMapper

from zoo.models.backbones.resnet import ResNet
from zoo.models.boxes import BoxConvention
from zoo.models.heads.anchor_head import flatten_anchors
from zoo.models.heads.box_head import ConvBoxHead, LecunTwoFcBoxHead, PlainTwoFcBoxHead
from zoo.models.layers.conv import ConvNorm, fix_affine, fold_batch_norm, norms
from zoo.models.layers.normalize import PixelNormalizer
from zoo.models.layers.padding import PadToMultiple
from zoo.models.layers.roi_pooler import RoiPooler
from zoo.models.necks.extra_levels import ConvLevels, Source
from zoo.models.necks.fpn import FPN
from zoo.types import FeatureSpec, Sample


def conv_of(module: nn.Module, name: str) -> nn.Conv2d:
    """A convolution, by its name in a module."""
    conv = module.get_submodule(name)
    assert isinstance(conv, nn.Conv2d)
    return conv


def test_resnet_publishes_what_it_returns() -> None:
    backbone = ResNet(50).eval()
    with torch.inference_mode():
        features = backbone(torch.zeros(1, 3, 64, 96))
    for feature, spec in zip(features, backbone.out_specs, strict=True):
        assert tuple(feature.shape) == (1, spec.channels, 64 // spec.stride, 96 // spec.stride)
    assert [spec.stride for spec in backbone.out_specs] == [4, 8, 16, 32]


def test_resnet_freezes_stages_and_normalisation() -> None:
    backbone = ResNet(50, frozen_stages=1, norm_eval=True).train()
    frozen = {name.split(".")[0] for name, p in backbone.named_parameters() if not p.requires_grad}
    assert frozen == {"stem", "layer1"}
    assert not any(m.training for m in backbone.modules() if isinstance(m, nn.BatchNorm2d))
    assert backbone.layer2.training  # type: ignore[union-attr] # a stage
    live = ResNet(50, frozen_stages=1, norm_eval=False).train()
    training = [name for name, m in live.named_modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    assert training
    assert not any(name.startswith(("stem", "layer1")) for name in training)


def test_resnet_keeps_scales_and_biases_of_its_normalisation() -> None:
    with torch.device("meta"):
        backbone = ResNet(50, norm_affine="fixed")
    trained = {name.split(".")[-2] for name, p in backbone.named_parameters() if p.requires_grad}
    assert trained == {"conv"}


def test_resnet_styles_differ_in_where_the_stride_is() -> None:
    strides = {}
    for style in ("pytorch", "caffe"):
        with torch.device("meta"):
            block = ResNet(50, style=style).get_submodule("layer2.0")
        strides[style] = [conv_of(block, f"conv{i}.conv").stride for i in (1, 2, 3)]
        assert block.get_submodule("shortcut.conv").stride == (2, 2)
    assert strides == {"pytorch": [(1, 1), (2, 2), (1, 1)], "caffe": [(2, 2), (1, 1), (1, 1)]}


@pytest.mark.parametrize(("groups", "base_width", "first"), [(32, 4, 128), (64, 4, 256), (32, 8, 256)])
def test_resnext_widths(groups: int, base_width: int, first: int) -> None:
    with torch.device("meta"):
        backbone = ResNet(101, groups=groups, base_width=base_width)
    for stage in range(4):
        conv = conv_of(backbone, f"layer{stage + 1}.1.conv2.conv")
        width = first * 2**stage
        assert (conv.in_channels, conv.out_channels, conv.groups) == (width, width, groups)
    assert [spec.channels for spec in backbone.out_specs] == [256, 512, 1024, 2048]


def test_a_dilated_stage_keeps_its_size() -> None:
    with torch.device("meta"):
        backbone = ResNet(50, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2), out_stages=[4])
        (c5,) = backbone(torch.empty(1, 3, 64, 96))
    assert backbone.out_specs == (FeatureSpec(2048, 16),)
    assert c5.shape == (1, 2048, 4, 6)
    convs = [conv_of(backbone, f"layer4.{block}.conv2.conv") for block in range(3)]
    assert [(conv.stride, conv.dilation, conv.padding) for conv in convs] == [((1, 1), (2, 2), (2, 2))] * 3


def test_stages_that_nobody_asks_for_do_not_exist() -> None:
    with torch.device("meta"):
        backbone = ResNet(50, out_stages=[3])
        features = backbone(torch.empty(1, 3, 64, 96))
    assert [tuple(x.shape) for x in features] == [(1, 1024, 4, 6)]
    assert backbone.out_specs == (FeatureSpec(1024, 16),)
    assert not any(name.startswith("layer4") for name in backbone.state_dict())


def test_basic_blocks_have_one_style() -> None:
    with pytest.raises(ValueError, match="basic blocks"):
        ResNet(10, groups=2)
    with pytest.raises(ValueError, match="'tensorflow'"):
        ResNet(50, style="tensorflow")


def test_resnet_names_unknown_depths() -> None:
    with pytest.raises(ValueError, match="depth: 51"):
        ResNet(51)


@pytest.mark.parametrize(("source", "seen"), [("output", 2), ("input", 3)])
def test_levels_beyond_the_pyramid_are_convolved(source: Source, seen: int) -> None:
    neck = FPN([FeatureSpec(2, 4), FeatureSpec(3, 8)], channels=2, extra_levels=partial(ConvLevels, source=source))
    assert [spec.stride for spec in neck.out_specs] == [4, 8, 16, 32]
    features = (torch.rand(1, 2, 8, 8), torch.rand(1, 3, 4, 4))
    maps = neck(features)
    assert [tuple(x.shape) for x in maps] == [(1, 2, side, side) for side in (8, 4, 2, 1)]
    p6, p7 = neck.extra_levels.p6, neck.extra_levels.p7
    assert isinstance(p6, nn.Conv2d)
    assert p6.in_channels == seen
    assert torch.equal(maps[2], p6(features[1] if source == "input" else maps[1]))
    assert torch.equal(maps[3], p7(maps[2].relu()))  # type: ignore[operator] # a convolution


def test_levels_beyond_are_of_one_map_or_another() -> None:
    with pytest.raises(ValueError, match="source: 'both' is none of output, input"):
        ConvLevels(1, 1, source="both")  # type: ignore[arg-type] # on purpose


def test_fpn_adds_up_and_halves() -> None:
    neck = FPN([FeatureSpec(1, 4), FeatureSpec(1, 8)], channels=1)
    state = {key: torch.zeros_like(value) for key, value in neck.state_dict().items()}
    for level in range(2):  # laterals and outputs pass values through
        state[f"laterals.{level}.weight"][...] = 1
        state[f"outputs.{level}.weight"][..., 1, 1] = 1
    neck.load_state_dict(state)
    fine = torch.arange(12.0).view(1, 1, 3, 4)
    coarse = torch.tensor([[[[10.0, 20], [30, 40]]]])
    p2, p3, p4 = neck((fine, coarse))
    assert torch.equal(p3, coarse)
    # nearest up-sampling of 2x2 to the finer map's exact 3x4
    assert torch.equal(p2[0, 0], fine[0, 0] + torch.tensor([[10.0, 10, 20, 20], [10, 10, 20, 20], [30, 30, 40, 40]]))
    assert p4.tolist() == [[[[10.0]]]]
    assert [spec.stride for spec in neck.out_specs] == [4, 8, 16]


def test_first_weights_may_be_drawn_by_inputs_alone() -> None:
    # 512 inputs and 64 outputs: a bound of sqrt(3 / 512), or of sqrt(6 / 576).
    for init, bound in (("lecun", math.sqrt(3 / 512)), ("xavier", math.sqrt(6 / 576))):
        neck = FPN([FeatureSpec(512, 4)], channels=64, lateral_init=init)  # type: ignore[arg-type] # both exist
        assert conv_of(neck, "laterals.0").weight.abs().max().item() == pytest.approx(bound, rel=1e-3)
        assert conv_of(neck, "outputs.0").weight.abs().max().item() == pytest.approx(math.sqrt(6 / 9 / 128), rel=1e-2)
    head = LecunTwoFcBoxHead(in_channels=128, pooled_size=2, num_classes=3, num_boxes=3, channels=64)
    assert head.fc1.weight.abs().max().item() == pytest.approx(math.sqrt(3 / 512), rel=1e-3)
    assert head.fc2.weight.abs().max().item() == pytest.approx(math.sqrt(6 / 128), rel=1e-2)
    with pytest.raises(ValueError, match="init: 'kaiming' is none of xavier, lecun"):
        FPN([FeatureSpec(8, 4)], channels=8, lateral_init="kaiming")  # type: ignore[arg-type] # on purpose


def test_pooler_levels() -> None:
    pooler = RoiPooler([FeatureSpec(1, stride) for stride in (4, 8, 16, 32)], output_size=7)
    sides = [10, 111, 112, 224, 448, 5000]
    rois = torch.tensor([[0, 0, 0, side, side] for side in sides], dtype=torch.float32)
    assert pooler.levels(rois).tolist() == [0, 0, 1, 2, 3, 3]


def test_pooler_measures_regions_by_the_convention() -> None:
    # 111 x 111 by its corners, 112 x 112 in pixels, from which regions leave the finest level.
    specs, region = [FeatureSpec(1, stride) for stride in (4, 8, 16, 32)], torch.tensor([[0.0, 0, 0, 111, 111]])
    assert RoiPooler(specs, output_size=7).levels(region).tolist() == [0]
    assert RoiPooler(specs, output_size=7, convention=BoxConvention(inclusive=True)).levels(region).tolist() == [1]


def test_pooler_adds_its_epsilon_before_the_logarithm() -> None:
    # Added after it, as others do, this region would belong to the next level.
    pooler = RoiPooler([FeatureSpec(1, stride) for stride in (4, 8, 16, 32)], output_size=7)
    side = 447.9997
    assert pooler.levels(torch.tensor([[0, 0, 0, side, side]])).tolist() == [2]
    assert math.floor(4 + math.log2(side / 224) + 1e-6) - 2 == 3
    # Nearer to the border of 448 pixels than 56 epsilons it does.
    assert pooler.levels(torch.tensor([[0, 0, 0, 447.9999, 447.9999]])).tolist() == [3]


def test_pooler_averages_its_level() -> None:
    pooler = RoiPooler([FeatureSpec(1, 1), FeatureSpec(1, 2)], output_size=1, finest_size=4)
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    pooled = pooler([ramp, ramp * 0 + 7], torch.tensor([[0.0, 2, 2, 6, 6], [0, 0, 0, 16, 16]]))
    # half-pixel centres: the mean of columns 2 to 5; the large region comes from the coarse level
    assert pooled.flatten().tolist() == [3.5, 7]


def test_flatten_anchors_is_anchor_major_within_a_cell() -> None:
    x = torch.arange(2 * 2 * 1 * 3).view(1, 4, 1, 3)  # A = 2, 2 values, H = 1, W = 3
    flat = flatten_anchors(x, 2)
    assert flat[0].tolist() == [[0, 3], [6, 9], [1, 4], [7, 10], [2, 5], [8, 11]]


def test_folding_changes_nothing_but_rounding() -> None:
    torch.manual_seed(0)
    layer = ConvNorm(3, 5, 3, stride=2, activation=nn.ReLU()).eval()
    assert isinstance(layer.norm, nn.BatchNorm2d)
    for values in (layer.norm.weight, layer.norm.bias, layer.norm.running_mean, layer.norm.running_var):
        assert values is not None
        values.data.uniform_(0.5, 1.5)
    x = torch.randn(2, 3, 9, 9)
    with torch.inference_mode():
        before = layer(x)
        after = fold_batch_norm(layer)(x)
    assert isinstance(layer.norm, nn.Identity)
    assert torch.allclose(before, after, atol=1e-5)


def sample(height: int, width: int, value: int) -> Sample:
    pixels = torch.full((height, width, 3), value, dtype=torch.uint8)
    pixels[..., 0] = 0  # blue
    return Sample(pixels=pixels, image_id=7, original_size=(height, width), scale=(1.0, 1.0))


def test_normalizer_swaps_normalises_and_then_pads_with_zero() -> None:
    normalizer = PixelNormalizer(mean=[10, 20, 30], std=[2, 4, 5], channels="rgb", padding=PadToMultiple(4))
    batch = normalizer([sample(2, 3, 50), sample(5, 2, 50)], torch.device("cpu"))
    assert tuple(batch.images.shape) == (2, 3, 8, 4)
    assert batch.images[0, :, 0, 0].tolist() == [20, 7.5, -6]  # red, green, blue
    assert batch.images[0, :, 2:].abs().sum() == 0
    assert batch.images[0, :, :, 3:].abs().sum() == 0
    assert [geometry.size for geometry in batch.geometries] == [(2, 3), (5, 2)]
    assert batch.image_ids == [7, 7]


@pytest.mark.parametrize(("extent", "expected"), [("size", (5, 7)), ("scaled", (4.8, 7.2)), ("padded", (32, 32))])
def test_normalizer_knows_what_boxes_are_clipped_to(extent: Any, expected: tuple[float, float]) -> None:
    normalizer = PixelNormalizer([0] * 3, [1] * 3, "rgb", PadToMultiple(32), extent)
    resized = Sample(torch.zeros(5, 7, 3), 0, original_size=(12, 18), scale=(0.4, 0.4))
    larger = Sample(torch.zeros(40, 40, 3), 1, original_size=(100, 100), scale=(0.4, 0.4))
    geometry = normalizer([resized, larger], torch.device("cpu")).geometries[0]
    assert geometry.extent == pytest.approx(expected)  # whatever image shares its batch
    assert geometry.size == (5, 7)


def test_training_may_clip_to_something_else() -> None:
    normalizer = PixelNormalizer([0] * 3, [1] * 3, "rgb", PadToMultiple(32), "padded", training_extent="scaled")
    resized = Sample(torch.zeros(5, 7, 3), 0, original_size=(12, 18), scale=(0.4, 0.4))
    for training, expected in ((True, (4.8, 7.2)), (False, (32, 32))):
        (geometry,) = normalizer.train(training)([resized], torch.device("cpu")).geometries
        assert geometry.extent == pytest.approx(expected)


def test_normalizer_knows_three_extents() -> None:
    with pytest.raises(ValueError, match="extent: 'image'"):
        PixelNormalizer([0] * 3, [1] * 3, "rgb", PadToMultiple(1), "image")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="training_extent: 'image'"):
        PixelNormalizer([0] * 3, [1] * 3, "rgb", PadToMultiple(1), training_extent="image")  # type: ignore[arg-type]


def test_normalizer_keeps_bgr() -> None:
    normalizer = PixelNormalizer(mean=[0, 0, 0], std=[1, 1, 1], channels="bgr", padding=PadToMultiple(1))
    assert normalizer([sample(1, 1, 9)], torch.device("cpu")).images.flatten().tolist() == [0, 9, 9]


def test_normalizer_rounds_each_step_as_numpy_does() -> None:
    # Every level, to the bit: float32 pixels against float64 constants, in place.
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    levels = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    expected = levels.astype(np.float32)
    expected *= 1 / 255.0
    expected -= np.array(mean)
    expected /= np.array(std)
    normalizer = PixelNormalizer(mean, std, "bgr", PadToMultiple(1), divisor=255.0)
    batch = normalizer([Sample(torch.from_numpy(levels), 0, (1, 256), (1.0, 1.0))], torch.device("cpu"))
    assert batch.images.dtype == torch.float32
    assert np.array_equal(batch.images[0].permute(1, 2, 0).numpy(), expected)


def test_normalizer_knows_two_orders() -> None:
    with pytest.raises(ValueError, match="'gbr'"):
        PixelNormalizer(mean=[0], std=[1], channels="gbr", padding=PadToMultiple(1))


def test_pooler_may_add_its_epsilon_to_the_level() -> None:
    specs = [FeatureSpec(1, stride) for stride in (4, 8, 16, 32)]
    pooler = RoiPooler(specs, output_size=7, epsilon_of="level")
    sides = [1, 111.9, 111.99995, 112, 223.9, 447.9997, 448, 5000]
    boxes = torch.tensor([[0, 0, side, side] for side in sides])
    rois = torch.cat((torch.zeros(len(boxes), 1), boxes), dim=1)
    assert pooler.levels(rois).tolist() == LevelMapper(2, 5)([boxes]).tolist() == [0, 0, 1, 1, 1, 3, 3, 3]
    with pytest.raises(ValueError, match="epsilon_of: 'area' is neither"):
        RoiPooler(specs, output_size=7, epsilon_of="area")  # type: ignore[arg-type] # on purpose


def test_a_normalised_pyramid_has_no_biases() -> None:
    torch.manual_seed(0)
    neck = FPN([FeatureSpec(8, 4), FeatureSpec(16, 8)], channels=4, norm=True, output_init="lecun")
    assert [name for name, _ in neck.named_parameters() if "conv.bias" in name] == []
    assert [len(norms(layers)) for layers in (neck.laterals, neck.outputs)] == [2, 2]
    fine, coarse, extra = neck.eval()([torch.rand(1, 8, 6, 6), torch.rand(1, 16, 3, 3)])
    assert (fine.shape, coarse.shape, extra.shape) == ((1, 4, 6, 6), (1, 4, 3, 3), (1, 4, 2, 2))
    assert conv_of(neck, "outputs.0.conv").weight.abs().max() <= (3 / (4 * 9)) ** 0.5  # by inputs alone


def test_a_convolutional_box_head() -> None:
    head = ConvBoxHead(in_channels=8, pooled_size=7, num_classes=3, num_boxes=4, conv_channels=6, channels=5).eval()
    logits, deltas = head(torch.rand(2, 8, 7, 7))
    assert (logits.shape, deltas.shape) == ((2, 4), (2, 16))
    assert len(norms(head)) == 4


def test_a_box_head_may_keep_what_torch_draws() -> None:
    torch.manual_seed(0)
    head = PlainTwoFcBoxHead(in_channels=8, pooled_size=2, num_classes=3, num_boxes=3, channels=16)
    for layer in (head.fc1, head.logits, head.deltas):
        limit = layer.in_features**-0.5
        assert 0.9 * limit < layer.weight.abs().max() <= limit
        assert layer.bias.any()


def test_constant_normalisation_is_torchvisions_to_the_last_bit() -> None:
    torch.manual_seed(0)
    layer = ConvNorm(3, 5, 3, eps=0.0)
    for values in (layer.norm.weight, layer.norm.bias, layer.norm.running_mean, layer.norm.running_var):
        nn.init.uniform_(values, 0.2, 2)  # type: ignore[arg-type] # all are tensors
    frozen = FrozenBatchNorm2d(5, eps=0.0)
    frozen.load_state_dict(layer.norm.state_dict())
    x = torch.rand(2, 3, 6, 6)
    expected = frozen(layer.conv(x))
    fix_affine(layer, "constant")
    assert torch.equal(layer(x), expected)
    assert [name for name, _ in layer.named_parameters()] == ["conv.weight"]
    assert torch.allclose(fold_batch_norm(layer.eval())(x), expected, atol=1e-5)
