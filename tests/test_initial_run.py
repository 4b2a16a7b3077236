"""`run=train` of an entry whose recipe begins with a file, and what happens where that cannot be had."""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from class_names import class_names
from command_lines import last_wins
from conftest import ENTRY
from file_server import FileServer
from torch import Tensor

from zoo import bench
from zoo.config.build import build_model
from zoo.config.compose import compose

SMALL = [
    *("backbone=resnet10_small", "backbone.frozen_stages=1", "neck=fpn64", "head=faster_rcnn_small", "batch_size=1"),
    *("protocol.transform.size_rule={long:64,short:48}", "schedule.multi_scale.scales=[[64,48]]"),
]
WHOLE = ("schedule.epochs=1", "schedule.milestones=[]")


@pytest.fixture(scope="module")
def classifier() -> dict[str, Tensor]:
    """A state dict with torchvision's names, for the backbone of these runs."""
    torch.manual_seed(7)
    backbone = build_model(compose(ENTRY, ["initial=null", *SMALL]), class_names(80)).backbone
    state = {"fc.weight": torch.zeros(10, 128), "fc.bias": torch.zeros(10)}
    for name, tensor in backbone.state_dict().items():
        renamed = name.replace("stem.conv", "conv1").replace("stem.norm", "bn1")
        renamed = renamed.replace("shortcut.conv", "downsample.0").replace("shortcut.norm", "downsample.1")
        renamed = re.sub(r"conv(\d)\.conv", r"conv\1", re.sub(r"conv(\d)\.norm", r"bn\1", renamed))
        state[renamed] = torch.rand_like(tensor) if tensor.is_floating_point() else tensor
    return state


@pytest.fixture
def served(classifier: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FileServer, str, str]]:
    """A server, the address of the file on it, and its hash."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    buffer = io.BytesIO()
    torch.save(classifier, buffer)
    with FileServer() as server:
        yield server, server.serve("/tiny.pth", buffer.getvalue()), hashlib.sha256(buffer.getvalue()).hexdigest()


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["zoo.bench"])


def run(coco: Path, folder: str, url: str, sha256: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    same = ["data.train.annotations=annotations/instances_val2017.json", "data.train.images=val2017"]
    fixed = [f"entry={ENTRY}", "run=train", "device=cpu", "measure=[accuracy]", f"data.root={coco}", *same, *SMALL]
    file = [f'initial.urls=["{url}"]', f'initial.sha256_prefix="{sha256[:8]}"']
    status = bench.main(last_wins(*fixed, *file, f"hydra.run.dir={folder}", "results.dir=results", *arguments))
    return status, json.loads(Path(folder, "record.json").read_text(encoding="utf-8"))


def init_from(record: dict[str, Any]) -> Any:
    return record["protocol"]["training"]["init_from"]


def test_a_training_begins_with_the_file_of_its_recipe(
    tiny_coco: Path, served: tuple[FileServer, str, str], classifier: dict[str, Tensor]
) -> None:
    server, url, sha256 = served
    status, record = run(tiny_coco, "run", url, sha256, "run.max_steps=1")
    assert (status, record["reason"]) == (0, None)
    source = init_from(record)
    assert (source["url"], source["sha256"], source["hash_evidence"]) == (
        url,
        sha256,
        "published prefix",
    )
    assert source["path"] == f"cache:sha256/{sha256[:2]}/{sha256}/tiny.pth"
    assert source["load_report"]["dropped"] == {"classifies whole images": ["fc.weight", "fc.bias"]}
    assert record["checkpoint"]["sha256"] != sha256
    weights = torch.load("run/weights.pth", weights_only=True)
    assert torch.equal(weights["backbone.stem.conv.weight"], classifier["conv1.weight"])
    assert torch.equal(weights["backbone.layer1.0.conv2.norm.running_var"], classifier["layer1.0.bn2.running_var"])

    server.files.clear()  # and no file is needed to go on
    status, record = run(tiny_coco, "run", url, sha256, "run.max_steps=2", "run.resume=true")
    assert (status, init_from(record)) == (0, source)


def test_a_dry_run_goes_on_without_the_file(
    tiny_coco: Path, served: tuple[FileServer, str, str], caplog: pytest.LogCaptureFixture
) -> None:
    server, _, sha256 = served
    gone = server.address + "/gone.pth"
    status, record = run(tiny_coco, "dry", gone, sha256, "run.max_steps=1")
    assert (status, record["status"]) == (0, "measured")
    said = [record.message for record in caplog.records if record.levelname == "WARNING"]
    warnings = [message for message in said if "is not the annotation file of" not in message]
    assert (len(warnings), len(said)) == (1, 3)  # the others: of both splits
    assert re.match(r"warning: this dry run starts from random weights: gone\.pth: .*404", warnings[0])
    assert "\n" not in warnings[0]
    source = init_from(record)
    assert (source["weights"], source["instead_of"]) == ("random init", gone)
    assert "404" in source["reason"]

    status, record = run(tiny_coco, "dry", gone, sha256, "run.max_steps=2", "run.resume=true")
    assert (status, init_from(record)) == (0, source)
    status, record = run(tiny_coco, "dry", gone, sha256, "run.resume=true")
    assert status == 1
    assert record["reason"] == f"the training started from random weights as a dry run, without {gone}"


def test_a_whole_training_is_blocked_without_the_file(
    tiny_coco: Path, served: tuple[FileServer, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    server, url, sha256 = served
    for folder, address, digest in (("gone", server.address + "/gone.pth", sha256), ("other", url, "0" * 64)):
        status, record = run(tiny_coco, folder, address, digest, *WHOLE)
        assert (status, record["status"]) == (1, "blocked")
        assert record["reason"].startswith("initial weights: ")
        assert "initial=null" in capsys.readouterr().err.strip().splitlines()[-1]
        assert not Path(folder, "metrics.csv").exists()
