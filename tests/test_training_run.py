"""`run=train` end to end: recipe, metrics, resume, evaluation of what was trained, the record."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ENTRY

from zoo import bench
from zoo.config.compose import compose
from zoo.config.settings import RunSettings
from zoo.errors import UsageError
from zoo.train.config import TrainConfig

os.environ.setdefault("MKL_CBWR", "AUTO")  # as the front door does, but in a process that has torch already

SMALL = [
    "initial=null",
    *("backbone=resnet10_small", "neck=fpn64", "head=faster_rcnn_small"),
    *("protocol.transform.size_rule={long:64,short:48}", "schedule.multi_scale.scales=[[64,48]]"),
]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["zoo.bench"])


def run(coco: Path, folder: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit status and record of one training, on the images it is evaluated on."""
    same = ["data.train.annotations=annotations/instances_val2017.json", "data.train.images=val2017"]
    fixed = [f"entry={ENTRY}", "run=train", "device=cpu", "measure=[accuracy]", f"data.root={coco}", *same]
    status = bench.main([*fixed, f"hydra.run.dir={folder}", "results.dir=results", *SMALL, *arguments])
    return status, json.loads(Path(folder, "record.json").read_text(encoding="utf-8"))


def rows(folder: str) -> list[dict[str, str]]:
    with Path(folder, "metrics.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_train_then_evaluate(tiny_coco: Path) -> None:
    status, record = run(tiny_coco, "whole", "run.max_steps=4", "batch_size=2", "run.evaluate_every=1")
    assert (status, record["reason"]) == (0, None)
    done = record["protocol"]["training"]
    assert done | {"annotations_sha256": ""} == {
        "schedule": "1x", "epochs": 12, "steps": 4, "steps_per_epoch": 2, "batch_size": 2, "recipe_batch_size": 16,
        "micro_batch_size": 2, "precision": "fp32", "lr": 0.0025, "recipe_lr": 0.02, "images": 3,
        "annotations_sha256": "", "processes": 1, "init_from": "random init",
    }  # fmt: skip
    assert list(rows("whole")[0]) == [
        "step",
        "epoch",
        "lr",
        "loss",
        "loss_rpn_cls",
        "loss_rpn_bbox",
        "loss_cls",
        "loss_bbox",
    ]
    assert record["checkpoint"]["hash_evidence"] == "none"
    weights = torch.load("whole/weights.pth", weights_only=True)
    assert sum(tensor.numel() for tensor in weights.values()) > 100_000
    assert list(json.loads(Path("whole/evaluations.json").read_text(encoding="utf-8"))) == ["1", "2"]
    assert 0 <= record["measured"]["box_AP"] <= 100
    assert not list(Path("results").glob("records/*/*")), "a changed composition is filed as a local run"
    (filed,) = Path("results/local").rglob("*.json")
    condition = record["identity"]["condition"]
    assert (condition["run.name"], condition["seed"]) == ("train", 0)
    assert json.loads(filed.read_text(encoding="utf-8"))["identity"] == record["identity"]


def test_a_training_that_was_cut_short_is_not_the_entry(tiny_coco: Path) -> None:
    status, record = run(tiny_coco, "cut", "run.max_steps=1", "batch_size=1", "run.scale_lr=false")
    assert status == 0
    assert record["protocol"]["training"]["lr"] == 0.02
    assert record["entry"] == ENTRY
    assert "run.max_steps=1" in record["identity"]["changes"]
    assert {cell["verdict"] for cell in record["verdict"].values()} == {"NOT-COMPARED"}


def test_resume_goes_on_to_the_same_metrics(tiny_coco: Path) -> None:
    few = ["batch_size=2", "run.micro_batch_size=1", "run.checkpoint_every=2"]
    run(tiny_coco, "whole", "run.max_steps=5", *few)
    run(tiny_coco, "parts", "run.max_steps=3", *few)
    status, record = run(tiny_coco, "parts", "run.max_steps=5", "run.resume=true", *few)
    assert (status, record["reason"]) == (0, None)
    assert Path("whole/metrics.csv").read_bytes() == Path("parts/metrics.csv").read_bytes()
    whole, parts = (torch.load(f"{name}/weights.pth", weights_only=True) for name in ("whole", "parts"))
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())


def test_another_training_is_not_gone_on_with(tiny_coco: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tiny_coco, "run", "run.max_steps=1", "batch_size=1")
    status, record = run(tiny_coco, "run", "run.max_steps=2", "batch_size=2", "run.resume=true")
    assert status == 1
    assert "batch_size was 1, now is 2" in record["reason"]
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("next: ")


def options(**changes: Any) -> TrainConfig:
    config = compose(ENTRY, ["run=train"])
    config["run"] |= changes
    settings = RunSettings.from_config(config, overrides=(), run_dir=Path("run"), default_results=Path("results"))
    assert settings.train is not None
    return settings.train


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_steps": 0}, "run.max_steps: 0"),
        ({"resume": "yes"}, "run.resume: 'yes' is not true or false"),
        ({"checkpoint_every": None}, "run.checkpoint_every: None"),
    ],
)
def test_faulty_options(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        options(**changes)


def test_a_recipe_in_mixed_precision(tiny_coco: Path) -> None:
    few = ["batch_size=2", "run.max_steps=2"]
    status, record = run(tiny_coco, "mixed", "schedule=mmdet_1x_amp", *few)
    assert (status, record["reason"]) == (0, None)
    assert record["protocol"]["training"]["precision"] == "fp16"
    run(tiny_coco, "plain", *few)
    first, second = (float(rows(folder)[0]["loss"]) for folder in ("mixed", "plain"))
    assert first != second
    assert first == pytest.approx(second, rel=0.02)
