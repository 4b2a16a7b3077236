"""VGG-16 is torchvision's, which numbers its layers as the published files do."""

from __future__ import annotations

import torch
from torchvision.models import vgg16

from zoo.checkpoints.convert import convert
from zoo.checkpoints.keymaps.jwyang import KEY_MAP
from zoo.models.backbones.vgg import Vgg16


def test_the_map_is_torchvisions() -> None:
    with torch.device("meta"):
        original = vgg16(weights=None).features[:-1]
    original = original.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    for parameter in original.parameters():
        torch.nn.init.normal_(parameter, std=(2 / max(parameter[0].numel(), 100)) ** 0.5, generator=generator)
    backbone = Vgg16()
    state = {f"RCNN_base.{key}": value for key, value in original.state_dict().items()}
    expected = {f"backbone.{key}": tuple(value.shape) for key, value in backbone.state_dict().items()}
    converted, report = convert(state, KEY_MAP, expected)
    assert report.loaded == 26
    backbone.load_state_dict({key.removeprefix("backbone."): value for key, value in converted.items()})
    images = torch.randn(1, 3, 50, 67, generator=generator)
    with torch.inference_mode():
        (found,) = backbone(images)
        assert torch.equal(found, original(images))
    assert found.shape == (1, 512, 3, 4), "sides are rounded down at every pool"
    assert (backbone.out_specs[0].channels, backbone.out_specs[0].stride) == (512, 16)
    assert float(found.std()) > 0.01


def test_other_maps_and_a_pool_that_rounds_up() -> None:
    with torch.device("meta"):
        backbone = Vgg16(frozen_stages=1, out_stages=(2, 4), ceil_stages=(3,))
        maps = backbone(torch.zeros(1, 3, 300, 300))
    assert [tuple(x.shape) for x in maps] == [(1, 128, 150, 150), (1, 512, 38, 38)]  # 150, 75, and 37.5 rounded up
    assert [(spec.channels, spec.stride) for spec in backbone.out_specs] == [(128, 2), (512, 8)]
    assert len(backbone.stages) == 4
    assert [p.requires_grad for stage in backbone.stages for p in stage.parameters()] == [False] * 4 + [True] * 16
