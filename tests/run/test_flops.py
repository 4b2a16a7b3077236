"""Complexity: parameters and multiply-accumulates against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from class_names import class_names
from made_up import make_record

from zoo.catalog.entry import read_entry
from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.errors import UsageError
from zoo.models.backbones.resnet import ResNet
from zoo.models.heads.box_head import TwoFcBoxHead
from zoo.models.layers.conv import fold_batch_norm
from zoo.models.layers.skip_init import SkipInit
from zoo.results.verdict import judge
from zoo.run import flops as module
from zoo.run.flops import count


def test_counts_add_up(small_parts: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IMAGE_SIZE", (96, 128))
    detector = build_model(small_parts, class_names(80)).eval()
    result = count(detector)
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
        head = TwoFcBoxHead(256, 7, num_classes=80, num_boxes=80)
        backbone = ResNet(50)
    assert sum(p.numel() for p in head.parameters()) == (
        (256 * 49 + 1) * 1024 + (1024 + 1) * 1024 + (1024 + 1) * 81 + (1024 + 1) * 320
    )
    assert sum(p.numel() for p in backbone.parameters()) == 25_557_032 - 2048 * 1000 - 1000  # without the classifier


# Ultralytics' own counts: parameters of the fused model, GFLOPs by its current way, and by thop 0.1 in 2023.
YOLO = {
    "yolov8n": (3_151_904, 8.744, 8.7464),
    "yolov8s": (11_156_544, 28.6026, 28.6075),
    "yolov8m": (25_886_080, 78.9367, 78.9435),
    "yolov8l": (43_668_288, 165.1485, 165.1567),
    "yolov8x": (68_200_608, 257.8043, 257.8146),
    "yolov8n_seg": (3_404_320, 12.0028, 12.6344),
    "yolov8s_seg": (11_810_560, 40.0862, 42.6077),
    "yolov8m_seg": (27_268_704, 104.5382, 110.2072),
    "yolov8l_seg": (45_973_568, 210.3929, 220.4675),
    "yolov8x_seg": (71_797_696, 328.3569, 344.0958),
}
CONSTANTS = 16  # the original counts the weights of its distributions' bins as parameters


@pytest.mark.parametrize("model", YOLO)
def test_yolo_by_both_countings(model: str) -> None:
    name = f"ultralytics_{model}"
    config, entry = compose(name), read_entry(name)
    with SkipInit("meta"):
        detector = build_model(config, class_names(80)).eval()
    fold_batch_norm(detector)
    result = count(detector, **config["protocol"]["complexity"])
    params, gflops, published = YOLO[model]
    assert result["params"] == params - CONSTANTS
    assert result["macs_input"] == [1, 3, 640, 640]
    assert result["macs"] * 2e-9 == pytest.approx(gflops, abs=6e-5)
    assert result["flops_published_counting"]["counter"] == "thop"
    assert result["flops_published_counting"]["flops"] * 1e-9 == pytest.approx(published, abs=6e-5)
    verdicts = judge(make_record(name, measured=result), entry)
    assert verdicts["params_m"].verdict == "EXACT"
    plain = {"yolov8n", "yolov8s", "yolov8m", "yolov8x"}  # where the two countings round alike
    assert verdicts["flops_b"].verdict == ("EXACT" if model in plain else "EXPLAINED")
    assert (verdicts["flops_b"].reason or "with the counting of thop").startswith("with the counting of thop")


def test_unknown_counters_are_named(small_parts: dict[str, Any]) -> None:
    with SkipInit("meta"):
        detector = build_model(small_parts, class_names(80)).eval()
    with pytest.raises(UsageError, match="no counter 'thopp'"):
        count(detector, counter="thopp")
