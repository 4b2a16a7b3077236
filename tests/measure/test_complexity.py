"""Complexity: parameters and multiply-accumulates against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from zoo.compose import build_model
from zoo.measure import complexity as module
from zoo.measure.complexity import complexity
from zoo.models.backbones.resnet import ResNet
from zoo.models.heads.box_head import TwoFcBoxHead


def test_counts_add_up(small_parts: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IMAGE_SIZE", (96, 128))
    detector = build_model(small_parts, num_classes=80).eval()
    result = complexity(detector)
    assert result["params"] == 41_753_056  # 91 classes in torchvision's model: 41,755,286, ten classes less here
    assert result["macs_input"] == [1, 3, 96, 128]
    assert sum(result["macs_by_part"].values()) == result["macs"]
    assert set(result["macs_by_part"]) == {"backbone", "neck", "rpn_head", "roi_head"}
    # the neck by hand: 1x1 laterals and 3x3 outputs on 24x32, 12x16, 6x8 and 3x4 cells
    cells = [768, 192, 48, 12]
    laterals = sum(n * c * 256 for n, c in zip(cells, (256, 512, 1024, 2048), strict=True))
    assert result["macs_by_part"]["neck"] == laterals + sum(cells) * 9 * 256 * 256


def test_parameters_of_the_parts() -> None:
    with torch.device("meta"):
        head = TwoFcBoxHead(256, 7, num_classes=80)
        backbone = ResNet(50)
    assert sum(p.numel() for p in head.parameters()) == (
        (256 * 49 + 1) * 1024 + (1024 + 1) * 1024 + (1024 + 1) * 81 + (1024 + 1) * 320
    )
    assert sum(p.numel() for p in backbone.parameters()) == 25_557_032 - 2048 * 1000 - 1000  # without the classifier
