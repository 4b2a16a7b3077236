"""Broken checkpoint files: weights, or an error; nothing is run, and no input needs a process of its own."""

from __future__ import annotations

import argparse
import collections
import io
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from frameworks import stand_ins
from fuzzing import fuzz
from hostile_files import FLOATS, archive, as_legacy, legacy, state_dict, text
from safetensors.torch import save
from torch import nn

from zoo.catalog.entry import Checkpoint, read_entry
from zoo.checkpoints.own import read_own

STATE = collections.OrderedDict(
    {"conv.weight": torch.arange(6.0).view(2, 3), "bn.running_mean": torch.ones(2).half(), "n": torch.tensor(7)}
)
TRAINING = {
    "meta": {"dataset_meta": {"classes": ("disc", "ring")}, "time": "now"},
    "state_dict": STATE,
    "message_hub": {"loss": np.arange(3.0), "args": argparse.Namespace(lr=0.1), "sets": [{1}, frozenset("a"), b"b"]},
    "optimizer": {"state": {0: {"momentum": torch.zeros(2, 3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
}


@pytest.fixture(scope="module")
def published() -> Checkpoint:
    return read_entry("ultralytics_yolov8n").checkpoint


@pytest.fixture
def network() -> Iterator[Any]:
    with stand_ins({"ultralytics.nn.tasks.DetectionModel": ((nn.Module,), {})}) as made:
        found = made["DetectionModel"]()
        found.model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
        found.names = {0: "disc", 1: "ring"}
        yield {"epoch": 3, "model": found, "ema": None, "train_args": {"lr0": 0.1}}


def saved(content: Any, *, zipped: bool, protocol: int = 2) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    return file.getvalue()


def fuzz_files(name: str, path: Path, published: Checkpoint, documents: list[bytes]) -> None:
    def read(data: bytes) -> None:
        path.write_bytes(data)
        read_own(path, published)

    for document in documents:
        read(document)
    fuzz(name, read, documents)


def test_archives(tmp_path: Path, published: Checkpoint) -> None:
    documents = [saved(content, zipped=True) for content in (STATE, TRAINING)]
    fuzz_files("zip", tmp_path / "w.pth", published, documents)


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_files_of_before_torch_1_6(tmp_path: Path, published: Checkpoint, network: Any) -> None:
    documents = [saved(content, zipped=False) for content in (STATE, TRAINING, network)]
    fuzz_files("legacy", tmp_path / "w.pth", published, documents)


def test_networks(tmp_path: Path, published: Checkpoint, network: Any) -> None:
    fuzz_files("network", tmp_path / "w.pt", published, [saved(network, zipped=True)])


def test_safetensors(tmp_path: Path, published: Checkpoint) -> None:
    fuzz_files("safetensors", tmp_path / "w", published, [save(dict(STATE), {"format": "pt"})])


@pytest.mark.parametrize("kind", ["training", "network"])
def test_pickles_in_whole_archives(tmp_path: Path, published: Checkpoint, network: Any, kind: str) -> None:
    content = TRAINING if kind == "training" else network
    programs = []
    records: dict[str, bytes] = {}
    for protocol in (2, 4):
        with zipfile.ZipFile(io.BytesIO(saved(content, zipped=True, protocol=protocol))) as file:
            programs.append(file.read("archive/data.pkl"))
            names = [name for name in file.namelist() if "/data/" in name]
            records = {name.rpartition("/")[2]: file.read(name) for name in names}

    def read(program: bytes) -> None:
        read_own(archive(tmp_path / "w.pth", program, records), published)

    for program in programs:
        read(program)
    fuzz(f"pickle of a {kind}", read, programs)


def test_pickles_of_old_files(tmp_path: Path, published: Checkpoint) -> None:
    beside = text("beside") + pickle.dumps({1: [(2, 3.5), b"b"], "a": {4}}, 4)[11:-1] + b"s"
    programs = [as_legacy(state_dict(FLOATS)), as_legacy(state_dict(FLOATS, more=beside))]

    def read(program: bytes) -> None:
        read_own(legacy(tmp_path / "w.pth", program), published)

    fuzz("old pickle", read, programs)
