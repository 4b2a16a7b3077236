"""`run=train` of a row of jwyang, small: groups of one shape, its losses and rates, and the split it is taken on."""

from __future__ import annotations

import csv
import json
import math
import sys
from pathlib import Path

import pytest

from zoo import bench

ENTRY = "jwyang_faster_rcnn_r101_s600_6e"
SMALL = [
    *("initial=null", "backbone.depth=10", "backbone.norm_eval=false", "backbone.style=pytorch", "+backbone.width=16"),
    *("protocol.transform.size_rule.short=96", "batch_size=2", "run.micro_batch_size=1", "run.max_steps=2"),
]


def test_a_row_is_trained(tiny_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["zoo.bench"])
    same = ["data.train.annotations=annotations/instances_val2017.json", "data.train.images=val2017"]
    fixed = [f"entry={ENTRY}", "run=train", "device=cpu", "measure=[accuracy]", f"data.root={tiny_coco}", *same]
    assert bench.main([*fixed, "hydra.run.dir=run", "results.dir=results", *SMALL]) == 0
    with Path("run/metrics.csv").open(encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert [list(row)[4:] for row in rows] == [["loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox"]] * 2
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert [row["lr"] for row in rows] == pytest.approx([0.01 * 2 / 24] * 2)
    record = json.loads(Path("run/record.json").read_text(encoding="utf-8"))
    done = record["protocol"]["training"]
    assert (done["images"], done["steps_per_epoch"], done["equivalent"]) == (3, 3, "train2017")
    assert "is not the annotation file of coco_minival2014 trainval35k" in done["other_data"]
    data = record["data"]
    assert (data["split"], data["equivalent"], data["known"]) == ("minival2014", "val2017", False)
    assert data["evidence"].startswith("the same images by Detectron's data notes")
