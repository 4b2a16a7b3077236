"""SSD's default boxes: those of the installed package, and which of their values go together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList

from zoo.config.compose import compose
from zoo.models.default_boxes import DefaultBoxes

SSD300 = DefaultBoxGenerator(
    [[2], [2, 3], [2, 3], [2, 3], [2], [2]],
    scales=[0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
    steps=[8, 16, 32, 64, 100, 300],
)
SSDLITE = DefaultBoxGenerator([[2, 3]] * 6, min_ratio=0.2, max_ratio=0.95)


@pytest.mark.parametrize(
    ("entry", "original", "shape", "sides"),
    [
        ("torchvision_ssd300_vgg16", SSD300, (300, 300), [38, 19, 10, 5, 3, 1]),
        ("torchvision_ssdlite320_mobilenet_v3_large", SSDLITE, (320, 320), [20, 10, 5, 3, 2, 1]),
        ("torchvision_ssdlite320_mobilenet_v3_large", SSDLITE, (320, 480), [20, 10, 5, 3, 2, 1]),
    ],
)
def test_they_are_torchvisions(entry: str, original: Any, shape: tuple[int, int], sides: list[int]) -> None:
    boxes: DefaultBoxes = instantiate(compose(entry, [])["head"]["dense_head"]["default_boxes"])
    cells = [(side, side + (shape[1] > shape[0])) for side in sides]
    found = boxes.grid(cells, shape, torch.device("cpu"))
    assert [len(level) for level in found] == [h * w * n for (h, w), n in zip(cells, boxes.per_cell, strict=True)]
    images = ImageList(torch.zeros(1, 3, *shape), [shape])
    (expected,) = original(images, [torch.zeros(1, 1, *size) for size in cells])
    assert torch.allclose(torch.cat(found), expected, rtol=0, atol=1e-4)
    assert boxes.grid(cells, shape, torch.device("cpu")) is found


def test_levels_go_together() -> None:
    with pytest.raises(ValueError, match="ratios of 2 levels do not go with 2 scales"):
        DefaultBoxes([[2], [2]], scales=[0.1, 0.2])
    with pytest.raises(ValueError, match="ratios of 1 levels do not go with 2 scales and 2 steps"):
        DefaultBoxes([[2]], scales=[0.1, 0.2], steps=[8, 16])
    with pytest.raises(ValueError, match="1 levels have some, and the pyramid has 2"):
        DefaultBoxes([[2]], scales=[0.1, 0.2]).grid([(2, 2), (1, 1)], (8, 8), torch.device("cpu"))
