"""`run=train` of rows of PaddleDetection, small: each era's views, losses and rates, and first weights."""

from __future__ import annotations

import csv
import io
import json
import math
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from class_names import class_names
from file_server import FileServer
from torch import Tensor

from zoo import bench
from zoo.checkpoints.convert import KeyMap, Rename
from zoo.checkpoints.keymaps import key_map
from zoo.config.build import build_model
from zoo.config.compose import compose

SMALL = [
    *(
        "backbone=resnet10_small",
        "backbone.frozen_stages=1",
        "backbone.norm_eval=true",
        "+backbone.norm_affine=fixed",
        "neck=fpn64",
    ),
    *("batch_size=2", "run.micro_batch_size=1", "schedule.multi_scale.scales=[[64,48]]"),
    *("protocol.transform.size_rule.long=64", "protocol.transform.size_rule.short=48"),
]
FIRST_DYGRAPH = "paddle_faster_rcnn_r34_fpn_1x"
CASCADE = "paddle_cascade_rcnn_dcn_r50_vd_fpn_3x_server_side"
ENHANCE = "paddle_faster_rcnn_enhance_3x"
MASKS = "paddle_mask_rcnn_res2net50_vd_26w_4s_fpn_2x"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["zoo.bench"])


@pytest.fixture(scope="module")
def outlined_coco(tiny_coco: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny data set, whose objects have outlines too."""
    root = shutil.copytree(tiny_coco, tmp_path_factory.mktemp("outlined") / "coco")
    path = root / "annotations" / "instances_val2017.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    for row in document["annotations"]:
        x, y, width, height = row["bbox"]
        row["segmentation"] = [[x, y, x + width, y, x + width / 2, y + height]]
    path.write_text(json.dumps(document), encoding="utf-8")
    return root


def run(entry: str, coco: Path, *arguments: str) -> tuple[int, dict[str, Any], list[dict[str, float]]]:
    """Exit status, record and the lines of metrics.csv of a training of two steps."""
    same = ["data.train.annotations=annotations/instances_val2017.json", "data.train.images=val2017"]
    fixed = [f"entry={entry}", "run=train", "device=cpu", "measure=[accuracy]", f"data.root={coco}", *same, *SMALL]
    where = ["hydra.run.dir=run", "results.dir=results", "run.max_steps=2"]
    status = bench.main([*fixed, *where, *arguments])
    record = json.loads(Path("run/record.json").read_text(encoding="utf-8"))
    assert record["reason"] is None
    with Path("run/metrics.csv").open(encoding="utf-8") as file:
        return status, record, [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


RPN = ["loss_rpn_cls", "loss_rpn_bbox"]
BOXES = ["loss_cls", "loss_bbox"]


@pytest.mark.parametrize(
    ("entry", "losses", "rates"),
    [
        (CASCADE, RPN + [f"{name}_{stage}" for stage in (1, 2, 3) for name in BOXES], [0.00025, 0.00025225]),
        (ENHANCE, RPN + BOXES, [0.0, 2.5e-6]),  # the warm-up begins at 0
        (MASKS, [*RPN, *BOXES, "loss_mask"], [0.01 / 24, 0.01 / 24 * 1.004]),
    ],
)
def test_rows_are_trained(outlined_coco: Path, entry: str, losses: list[str], rates: list[float]) -> None:
    status, record, rows = run(entry, outlined_coco, "initial=null")
    assert (status, record["status"]) == (0, "measured")
    assert [list(row)[4:] for row in rows] == [losses] * 2
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert [row["lr"] for row in rows] == pytest.approx(rates)
    done = record["protocol"]["training"]
    assert (done["images"], done["objects"], done["micro_batch_size"]) == (3, 3, 1)


def classifier(keymap: str) -> dict[str, Tensor]:
    """The backbone of these runs as a file of a key map has it: its first rule for each tensor, backwards."""
    rules: KeyMap = key_map(keymap)
    names = {rule.target: rule.source for rule in reversed(rules) if isinstance(rule, Rename)}
    torch.manual_seed(3)
    parts = compose(FIRST_DYGRAPH, ["backbone=resnet10_small", "neck=fpn64"])
    state = build_model(parts, class_names(80)).backbone.state_dict()
    file = {"fc_0.w_0": torch.zeros(10, 4)}
    for name, tensor in state.items():
        if tensor.is_floating_point():
            part = name.rpartition(".")[2]
            pattern = f"backbone.{name}" if f"backbone.{name}" in names else f"backbone.{name[: -len(part)]}{{p}}"
            file[names[pattern].replace("{p}", part)] = tensor + 0.01 * torch.rand_like(tensor)
    return file


def test_a_row_begins_with_its_classification_network(tiny_coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    file = classifier("paddle_static_classifier")
    content = pickle.dumps({name: tensor.numpy() for name, tensor in file.items()}, protocol=2)
    with FileServer() as server:
        url = server.serve("/tiny.pdparams", content)
        status, record, rows = run(FIRST_DYGRAPH, tiny_coco, f'initial.urls=["{url}"]')
    source = record["protocol"]["training"]["init_from"]
    assert (status, source["url"], source["hash_evidence"]) == (0, url, "first use")
    assert source["load_report"]["dropped"] == {"classifies whole images": ["fc_0.w_0"]}
    assert list(rows[0])[4:] == RPN + BOXES
    assert [row["lr"] for row in rows] == pytest.approx([0.00025, 0.00025225])
    weights = torch.load(io.BytesIO(Path("run/weights.pth").read_bytes()), weights_only=True)
    assert torch.equal(weights["backbone.stem.conv.weight"], file["conv1_weights"])  # frozen
    assert torch.equal(weights["backbone.layer3.0.conv2.norm.running_var"], file["bn4a_branch2b_variance"])
    moved = weights["backbone.layer3.0.conv2.conv.weight"] - file["res4a_branch2b_weights"]
    assert 0 < moved.abs().max() < 0.01
    pins = (Path("results") / "checkpoints.lock").read_text(encoding="utf-8")
    assert url in pins


def test_without_its_file_a_dry_run_says_so(tiny_coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FileServer() as server:
        gone = f"{server.address}/gone.tar"
        status, record, _ = run(FIRST_DYGRAPH, tiny_coco, f'initial.urls=["{gone}"]')
    source = record["protocol"]["training"]["init_from"]
    assert (status, source["weights"], source["instead_of"]) == (0, "random init", gone)
