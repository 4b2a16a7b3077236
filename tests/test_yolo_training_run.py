"""`run=train` of YOLOv8's recipe on a network an eighth as wide: four losses, accumulated gradients, resume."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from command_lines import last_wins

from zoo import bench

SMALL = [
    *("backbone=csp_p", "protocol.transform.size_rule.long=64", "schedule.mosaic.side=64", "precision=fp32"),
    *("batch_size=2", "schedule.accumulate_to=8", "schedule.epochs=4", "schedule.mosaic.close_mosaic=2"),
    *("schedule.warmup.epochs=2", "schedule.warmup.min_iterations=4", "schedule.warmup.bias_lr=0.01", "data.limit=2"),
]
"""Two steps an epoch, four of warm-up, then four to an optimiser step; the last two epochs see single images."""


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["zoo.bench"])


def run(coco: Path, folder: Path, *arguments: str, entry: str = "ultralytics_yolov8n") -> dict[str, Any]:
    """The record of one training, on the images it is evaluated on."""
    same = ["data.train.annotations=annotations/instances_val2017.json", "data.train.images=val2017"]
    fixed = [f"entry={entry}", "run=train", "device=cpu", "measure=[accuracy]", f"data.root={coco}", *same, *SMALL]
    where = [f"hydra.run.dir={folder}", f"results.dir={folder.parent}/results"]
    status = bench.main(last_wins(*fixed, *where, *arguments))
    record: dict[str, Any] = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    assert (status, record["reason"]) == (0, None)
    return record


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def whole(tiny_coco: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the training that several tests look at, and nobody changes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYDRA_FULL_ERROR", "1")
        patch.setattr(sys, "argv", ["zoo.bench"])
        folder = tmp_path_factory.mktemp("trained") / "whole"
        run(tiny_coco, folder, "run.checkpoint_every=6")
    return folder


def test_named_losses_and_rates(whole: Path) -> None:
    done = json.loads((whole / "record.json").read_text(encoding="utf-8"))["protocol"]["training"]
    assert (done["steps_per_epoch"], done["lr"], done["images"], done["init_from"]) == (2, 0.01, 3, "random init")
    lines = rows(whole)
    assert list(lines[0]) == ["step", "epoch", "lr", "loss", "loss_box", "loss_cls", "loss_dfl"]
    # In the warm-up a straight line to the rate of the epoch; epoch e has the share 1 - 0.99 e / 4 of the full one.
    shares = [0, 0.25, 0.5 * 0.7525, 0.75 * 0.7525, 0.505, 0.505, 0.2575, 0.2575]
    assert [float(line["lr"]) for line in lines] == pytest.approx([0.01 * share for share in shares])


def test_masks_are_trained_on(tiny_coco: Path, tmp_path: Path) -> None:
    # Accuracy would need the masks of the annotations, which have none: their boxes are trained on as masks.
    quick = ["measure=[speed]", "speed.images=1", "speed.warmup=0"]
    run(tiny_coco, tmp_path / "run", "run.max_steps=1", *quick, entry="ultralytics_yolov8n_seg")
    (line,) = rows(tmp_path / "run")
    assert list(line)[4:] == ["loss_box", "loss_cls", "loss_dfl", "loss_seg"]
    assert float(line["loss"]) == pytest.approx(sum(float(line[name]) for name in list(line)[4:]), rel=1e-6)


def test_losses_fall(tiny_coco: Path, tmp_path: Path) -> None:
    always = ["schedule.epochs=30", "schedule.mosaic.close_mosaic=30", "schedule.accumulate_to=2"]
    run(tiny_coco, tmp_path / "run", *always)
    losses = [float(line["loss"]) for line in rows(tmp_path / "run")]
    assert len(losses) == 60
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_resume_in_the_midst_of_accumulation(whole: Path, tiny_coco: Path, tmp_path: Path) -> None:
    # Gradients of step 6 wait for step 8: the checkpoint holds them.
    killed = shutil.copytree(whole, tmp_path / "killed")
    for name in ("weights.pth", "record.json", "checkpoints/step_000000008.pt"):
        (killed / name).unlink()
    run(tiny_coco, killed, "run.checkpoint_every=6", "run.resume=true")
    assert (whole / "metrics.csv").read_bytes() == (killed / "metrics.csv").read_bytes()
    tensors, resumed = (torch.load(folder / "weights.pth", weights_only=True) for folder in (whole, killed))
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in tensors.items())


def test_the_averaged_weights_are_the_trained_ones(whole: Path) -> None:
    weights = torch.load(whole / "weights.pth", weights_only=True)
    last = torch.load(whole / "checkpoints" / "step_000000008.pt", weights_only=True)
    assert all(torch.equal(tensor, last["ema"]["tensors"][name]) for name, tensor in weights.items())
    assert any(not torch.equal(tensor, last["model"][name]) for name, tensor in weights.items())
