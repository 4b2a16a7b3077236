"""`run=train` end to end: recipe, metrics, resume, evaluation of what was trained, the record."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from command_lines import last_wins
from conftest import ENTRY

from zoo import bench
from zoo.config.compose import compose
from zoo.config.run_settings import RunSettings
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


def run(coco: Path, folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit status and record of one training, on the images it is evaluated on."""
    same = ["data.train.annotations=annotations/instances_val2017.json", "data.train.images=val2017"]
    fixed = [f"entry={ENTRY}", "run=train", "device=cpu", "measure=[accuracy]", f"data.root={coco}", *same]
    where = [f"hydra.run.dir={folder}", f"results.dir={folder.parent}/results"]
    status = bench.main(last_wins(*fixed, *where, *SMALL, *arguments))
    return status, json.loads((folder / "record.json").read_text(encoding="utf-8"))


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


FEW = ["run.max_steps=5", "batch_size=2", "run.micro_batch_size=1", "run.checkpoint_every=2", "run.evaluate_every=1"]


@pytest.fixture(scope="module")
def whole(tiny_coco: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the training that several tests look at, and nobody changes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYDRA_FULL_ERROR", "1")
        patch.setattr(sys, "argv", ["zoo.bench"])
        folder = tmp_path_factory.mktemp("trained") / "whole"
        status, record = run(tiny_coco, folder, *FEW)
    assert (status, record["reason"]) == (0, None)
    return folder


def test_train_then_evaluate(whole: Path) -> None:
    record = json.loads((whole / "record.json").read_text(encoding="utf-8"))
    done = record["protocol"]["training"]
    assert "is not the annotation file of coco2017 train2017" in done.pop("other_data")
    assert done | {"annotations_sha256": ""} == {
        "schedule": "1x", "epochs": 12, "steps": 5, "steps_per_epoch": 2, "batch_size": 2, "recipe_batch_size": 16,
        "micro_batch_size": 1, "precision": "fp32", "lr": 0.0025, "recipe_lr": 0.02, "images": 3,
        "annotations_sha256": "", "processes": 1, "init_from": "random init",
        "objects": 3, "images_left_out": {}, "objects_left_out": {}, "equivalent": None,
    }  # fmt: skip
    assert list(rows(whole)[0]) == [
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
    weights = torch.load(whole / "weights.pth", weights_only=True)
    assert sum(tensor.numel() for tensor in weights.values()) > 100_000
    assert list(json.loads((whole / "evaluations.json").read_text(encoding="utf-8"))) == ["1", "2"]
    assert 0 <= record["measured"]["box_AP"] <= 100
    assert not list((whole.parent / "results").glob("records/*/*")), "a changed composition is filed as a local run"
    (filed,) = (whole.parent / "results/local").rglob("*.json")
    condition = record["identity"]["condition"]
    assert (condition["run.name"], condition["seed"]) == ("train", 0)
    assert json.loads(filed.read_text(encoding="utf-8"))["identity"] == record["identity"]


def test_a_training_that_was_cut_short_is_not_the_entry(whole: Path) -> None:
    record = json.loads((whole / "record.json").read_text(encoding="utf-8"))
    assert record["entry"] == ENTRY
    assert {"run.max_steps=5", "initial.urls=null"} <= set(record["identity"]["changes"])
    assert {cell["verdict"] for cell in record["verdict"].values()} == {"NOT-COMPARED"}


def test_resume_goes_on_to_the_same_metrics(whole: Path, tiny_coco: Path, tmp_path: Path) -> None:
    killed = shutil.copytree(whole, tmp_path / "killed")  # in the last step: its line is written, its checkpoint is not
    for name in ("weights.pth", "record.json", "checkpoints/step_000000005.pt"):
        (killed / name).unlink()
    status, record = run(tiny_coco, killed, *FEW, "run.resume=true")
    assert (status, record["reason"]) == (0, None)
    assert (whole / "metrics.csv").read_bytes() == (killed / "metrics.csv").read_bytes()
    tensors, resumed = (torch.load(folder / "weights.pth", weights_only=True) for folder in (whole, killed))
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in tensors.items())


def test_another_training_is_not_gone_on_with(
    whole: Path, tiny_coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(whole, tmp_path / "other")
    status, record = run(tiny_coco, folder, *FEW, "batch_size=1", "run.resume=true")
    assert status == 1
    assert "batch_size was 2, now is 1" in record["reason"]
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("next: ")


def test_a_recipe_in_mixed_precision(whole: Path, tiny_coco: Path, tmp_path: Path) -> None:
    as_it_stands = ["schedule=mmdet_1x_amp", "run.scale_lr=false"]
    status, record = run(tiny_coco, tmp_path / "mixed", *FEW, *as_it_stands, "run.max_steps=1")
    assert (status, record["reason"]) == (0, None)
    done = record["protocol"]["training"]
    assert (done["precision"], done["lr"]) == ("fp16", 0.02)
    first, second = (float(rows(folder)[0]["loss"]) for folder in (tmp_path / "mixed", whole))
    assert first != second
    assert first == pytest.approx(second, rel=0.02)


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
