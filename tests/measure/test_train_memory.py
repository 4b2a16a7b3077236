"""The memory of training: what is counted, and what happens where it cannot be."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from class_names import class_names
from conftest import ENTRY
from made_up import cell, make_entry, make_record

from zoo import bench
from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.config.settings import RunSettings
from zoo.data.coco import CocoGroundTruth
from zoo.measure.memory import Memory, published_gigabytes
from zoo.measure.train_memory import MEMORY_STEPS, train_memory
from zoo.results.diff import render_diff
from zoo.results.verdict import judge
from zoo.train.config import Recipe

SMALL = [
    *("initial=null", "backbone=resnet10_small", "neck=fpn64", "head=faster_rcnn_small"),
    *("protocol.transform.size_rule={long:64,short:48}", "schedule.multi_scale.scales=[[64,48]]"),
]


class Counter(Memory):
    """Counts 3 GiB and a bit on any device, and notes what happened when."""

    def __init__(self, optimizer_steps: list[int]) -> None:
        super().__init__(torch.device("cpu"))
        self.seen: list[int] = []
        self.optimizer_steps = optimizer_steps

    def reset(self) -> None:
        self.seen.append(len(self.optimizer_steps))

    def result(self) -> dict[str, Any]:
        self.seen.append(len(self.optimizer_steps))
        peaks = {"peak_allocated_bytes": 3 * 2**30 + 512 * 2**20 + 99, "peak_reserved_bytes": 2**32}
        return {"memory": {"kind": "cuda", **peaks}}


def test_real_steps_are_taken_between_reset_and_result(tiny_coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    plain_step = torch.optim.SGD.step

    def step(self: torch.optim.SGD, *arguments: Any) -> Any:
        steps.append(len(self.param_groups))
        return plain_step(self, *arguments)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    config = compose(ENTRY, SMALL)
    recipe = RunSettings.from_config(config, overrides=(), run_dir=Path("run"), default_results=Path("results")).recipe
    assert isinstance(recipe, Recipe)
    detector = build_model(config, class_names(80))
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    truth = CocoGroundTruth.load(tiny_coco / "annotations" / "instances_val2017.json")
    files = [tiny_coco / "val2017" / name for name in truth.file_names]
    counter = Counter(steps)
    measured = train_memory(recipe, detector, truth, files, memory=counter, seed=0, workers=0)
    assert counter.seen == [0, MEMORY_STEPS]
    assert any(not torch.equal(tensor, before[name]) for name, tensor in detector.state_dict().items())
    assert measured == {
        "train_memory_gb": 3.5,
        "train_memory": {
            "steps": MEMORY_STEPS,
            "images_per_gpu": 2,
            "precision": "fp32",
            "largest_input": [64, 64],
            "kind": "cuda",
            "peak_allocated_bytes": 3 * 2**30 + 512 * 2**20 + 99,
            "peak_reserved_bytes": 2**32,
        },
    }


@pytest.mark.parametrize(
    ("allocated", "gigabytes"),
    [(2**30, 1.0), (2**30 - 1, 1023 / 1024), (4_194_304_000, 3.90625), (0, 0.0)],  # whole MB of 2^20
)
def test_the_unit_of_the_tables(allocated: int, gigabytes: float) -> None:
    assert published_gigabytes(allocated) == gigabytes


def run(coco: Path, weights: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    sizes = ["protocol.transform.size_rule={long:128,short:96}"]
    where = [f"data.root={coco}", f"checkpoint.path={weights}", "results.dir=results", "hydra.run.dir=run"]
    status = bench.main([f"entry={ENTRY}", "device=cpu", *sizes, *where, *arguments])
    return status, json.loads(Path("run/record.json").read_text(encoding="utf-8"))


def test_on_a_cpu_the_rest_is_measured(
    tiny_coco: Path,
    faster_rcnn_pth: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["zoo.bench"])
    status, record = run(tiny_coco, faster_rcnn_pth, "measure=[complexity,train_memory]")
    assert (status, record["status"]) == (0, "measured")
    assert record["measured"]["params"] > 0
    assert record["measured"]["unmeasured"] == {"train_memory_gb": "train_memory needs a CUDA device"}
    assert "warning: train_memory is not measured: train_memory needs a CUDA device" in caplog.text
    status, record = run(tiny_coco, faster_rcnn_pth, "measure=train_memory")
    assert (status, record["status"]) == (1, "blocked")
    assert record["reason"] == "train_memory needs a CUDA device"


def test_what_could_not_be_measured_is_blocked_alone() -> None:
    entry = make_entry(cell("37.4"), cell("4.0", metric="train_memory_gb", hardware="V100"))
    record = make_record(measured={"box_AP": 37.41, "unmeasured": {"train_memory_gb": "needs CUDA"}})
    found = judge(record, entry)
    assert [found[metric]["verdict"] for metric in ("box_AP", "train_memory_gb")] == ["EXACT", "BLOCKED"]
    assert found["train_memory_gb"]["reason"] == "needs CUDA"
    assert "| BLOCKED    | h200-sxm | 4.0 GB      | V100 |" in render_diff([record], {"mmdet_a": entry})
    record.measured = {"box_AP": 37.41, "train_memory_gb": 3.9}
    assert judge(record, entry)["train_memory_gb"]["verdict"] == "NOT-COMPARED"
