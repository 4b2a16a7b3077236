"""MobileNetV3 against the classifier of the installed torchvision, with drawn weights and statistics."""

import pytest
import torch
import torchvision
from torch import nn

from zoo.models.backbones.mobilenet_v3 import MobileNetV3
from zoo.models.layers.conv import fold_batch_norm, norms


@pytest.mark.parametrize("reduced_tail", [False, True])
def test_it_gives_the_maps_of_the_original(reduced_tail: bool) -> None:
    original = torchvision.models.mobilenet_v3_large(reduced_tail=reduced_tail).features.eval()
    for norm in norms(original):
        nn.init.uniform_(norm.get_buffer("running_mean"), -0.2, 0.2)
        nn.init.uniform_(norm.get_buffer("running_var"), 0.5, 1.5)
    ours = MobileNetV3(out_layers=(0, 1, 13, 16), out_expansions=(13,), reduced_tail=reduced_tail).eval()
    ours.load_state_dict(dict(zip(ours.state_dict(), original.state_dict().values(), strict=True)))
    images = torch.rand(2, 3, 40, 72)

    with torch.inference_mode():
        expected, x = [], images
        for number, layer in enumerate(original):
            if number == 13:
                expected.append(layer.block[0](x))
            x = layer(x)
            if number in (0, 1, 13, 16):
                expected.append(x.clone())
        maps = ours(images)

    assert len(maps) == len(expected)
    for found, wanted, spec in zip(maps, expected, ours.out_specs, strict=True):
        assert torch.equal(found, wanted)
        assert spec.channels == found.shape[1]
    assert [spec.stride for spec in ours.out_specs] == [2, 2, 16, 32, 32]


def test_constants_are_no_parameters_and_frozen_layers_get_no_gradient() -> None:
    ours = MobileNetV3(norm_affine="constant", norm_eval=True, frozen_layers=7)
    # 2,971,952 weights of the original, without its classifier, of which 24,400 are scales and biases.
    assert sum(parameter.numel() for parameter in ours.parameters()) == 2_971_952 - 24_400
    assert "stem.norm.weight" in ours.state_dict()
    assert [all(p.requires_grad for p in block.parameters()) for block in ours.blocks] == [False] * 6 + [True] * 9
    assert not any(p.requires_grad for p in ours.stem.parameters())
    assert not any(norm.training for norm in norms(ours.train()))


def test_its_first_weights_are_drawn_as_the_paper_s() -> None:
    torch.manual_seed(0)
    squeezes = [part for part in MobileNetV3().modules() if isinstance(part, torchvision.ops.SqueezeExcitation)]
    assert [squeeze.fc1.out_channels for squeeze in squeezes] == [24, 32, 32, 120, 168, 168, 240, 240]
    assert all(not squeeze.fc1.bias.any() for squeeze in squeezes)
    weight = squeezes[-1].fc1.weight
    assert weight.std().item() == pytest.approx((2 / weight.shape[0]) ** 0.5, rel=0.02)


@pytest.mark.parametrize(("layers", "expansions"), [((17,), ()), ((16,), (0,))])
def test_it_has_17_layers(layers: tuple[int, ...], expansions: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="layers are 0 to 16, and 1 to 15 of them expand"):
        MobileNetV3(layers, expansions)


def test_an_unknown_kind_of_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="norm_affine: 'frozen' is none of trained, fixed, constant"):
        MobileNetV3(norm_affine="frozen")  # type: ignore[arg-type] # on purpose


def test_a_constant_normalisation_is_folded_as_any_other() -> None:
    backbone = MobileNetV3(norm_affine="constant").eval()
    for norm in norms(backbone):
        norm.weight.uniform_(0.5, 1.5)
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        plain = backbone(images)
        fold_batch_norm(backbone)
        folded = backbone(images)
    assert not norms(backbone)
    assert isinstance(backbone.stem.norm, nn.Identity)
    torch.testing.assert_close(folded, plain, rtol=1e-4, atol=1e-5)
