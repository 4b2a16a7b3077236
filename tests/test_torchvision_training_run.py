"""`run=train` of torchvision's rows, small: their views, losses and rates; and what they begin with and train."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
import torch
import torchvision_originals as originals

from zoo import bench
from zoo.catalog.entry import read_entry
from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.models.layers.skip_init import SkipInit
from zoo.train.optimizers import parameter_groups
from zoo.train.schedule import Schedule

TWO_STAGE = ["loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox"]
SMALL = ["protocol.transform.size_rule.long=128", "protocol.transform.size_rule.short=96"]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["zoo.bench"])


def train(entry: str, coco: Path, *arguments: str) -> list[dict[str, float]]:
    """The lines of metrics.csv of a training of two steps."""
    same = ["data.train.annotations=annotations/instances_val2017.json", "data.train.images=val2017"]
    fixed = [f"entry={entry}", "run=train", "device=cpu", "measure=[accuracy]", f"data.root={coco}", *same]
    small = ["batch_size=2", "run.max_steps=2", "data.limit=1", "precision=fp32", "initial=null"]
    status = bench.main([*fixed, *small, "hydra.run.dir=run", "results.dir=results", *arguments])
    assert status == 0, json.loads(Path("run/record.json").read_text(encoding="utf-8"))["reason"]
    with Path("run/metrics.csv").open(encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_ssdlite(tiny_coco: Path) -> None:
    """Three images, two of them a step: there is one step an epoch, and therefore no warm-up."""
    steps = train("torchvision_ssdlite320_mobilenet_v3_large", tiny_coco)
    assert list(steps[0]) == ["step", "epoch", "lr", "loss", "loss_cls", "loss_bbox"]
    rate = 0.15 * 2 / 192
    assert steps[0]["lr"] == rate
    assert steps[1]["lr"] == pytest.approx(rate * (1 + torch.cos(torch.tensor(torch.pi / 660)).item()) / 2)
    assert all(step["loss"] > 0 for step in steps)


LOSSES: dict[str, list[str]] = {
    "fasterrcnn_resnet50_fpn": TWO_STAGE,
    "fasterrcnn_resnet50_fpn_v2": TWO_STAGE,
    "fasterrcnn_mobilenet_v3_large_fpn": TWO_STAGE,
    "fasterrcnn_mobilenet_v3_large_320_fpn": TWO_STAGE,
    "maskrcnn_resnet50_fpn": [*TWO_STAGE, "loss_mask"],
    "maskrcnn_resnet50_fpn_v2": [*TWO_STAGE, "loss_mask"],
    "retinanet_resnet50_fpn": ["loss_cls", "loss_bbox"],
    "retinanet_resnet50_fpn_v2": ["loss_cls", "loss_bbox"],
    "fcos_resnet50_fpn": ["loss_cls", "loss_bbox", "loss_centerness"],
    "ssd300_vgg16": ["loss_cls", "loss_bbox"],
}


@pytest.mark.nightly
@pytest.mark.parametrize("entry", LOSSES)
def test_rows_of_boxes_and_masks(tiny_coco: Path, entry: str) -> None:
    steps = train(f"torchvision_{entry}", tiny_coco, *([] if "ssd" in entry else SMALL))
    assert list(steps[0]) == ["step", "epoch", "lr", "loss", *LOSSES[entry]]
    assert len(steps) == 2


SCRATCH = {
    "torchvision_fasterrcnn_resnet50_fpn_v2",
    "torchvision_maskrcnn_resnet50_fpn_v2",
    "torchvision_ssdlite320_mobilenet_v3_large",
}
"""Rows whose published commands name no weights of a backbone: all of it is trained."""


@pytest.mark.parametrize("entry", originals.entries())
def test_what_a_row_begins_with_and_trains(entry: str) -> None:
    """The trained parameters are the original's, and where a row begins with random weights all."""
    parts = compose(entry)
    with SkipInit("meta"):
        detector = build_model(parts, read_entry(entry).classes or parts["data"]["classes"])
    groups = parameter_groups(detector, Schedule.from_mapping(parts["schedule"]).optimizer)
    trained = sum(p.numel() for group in groups if group["lr_mult"] for p in group["params"])
    assert ("initial" in parts) == (entry not in SCRATCH)
    original = originals.without_storage(entry).parameters()
    assert trained == sum(p.numel() for p in original if p.requires_grad or entry in SCRATCH)
