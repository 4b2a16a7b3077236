"""1x1 convolutions that say they are dilated: the same values, by another library."""

from __future__ import annotations

import torch
from torch import nn

import zoo
from zoo.models.layers.conv import dilate_pointwise


def test_only_kernels_of_one_sample_are_dilated_and_give_the_same() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(8, 16, 1), nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 8, 1, stride=2), nn.Conv2d(8, 4, (1, 3))
    ).eval()
    image = torch.randn(1, 8, 20, 30).to(memory_format=torch.channels_last)
    model.to(memory_format=torch.channels_last)
    with torch.no_grad():
        before = model(image)
        after = dilate_pointwise(model, 2)(image)
    assert [layer.dilation for layer in model] == [(2, 2), (1, 1), (2, 2), (1, 1)]
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)


def test_a_detector_that_leaves_the_cpu_has_plain_ones_again() -> None:
    detector = zoo.build("shapes_retinanet_r10_fpn")
    pointwise = [layer for layer in detector.modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)]
    assert {layer.dilation for layer in pointwise} == {(1, 1)}
    detector.use_channels_last()
    assert {layer.dilation for layer in pointwise} == {(2, 2)}
    assert {layer.dilation for layer in detector.to("meta").modules() if layer in pointwise} == {(1, 1)}
