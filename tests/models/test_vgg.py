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
