"""The embedded zoo: what a newcomer runs ends EXACT, folded or not, one by one or in batches."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from zoo import bench
from zoo.catalog.entry import entry_names
from zoo.data.shapes.dataset import prepare_shapes

ENTRIES = [name for name in entry_names() if name.startswith("shapes_")]

WAYS = {
    "plain": [],
    "folded, in batches": ["protocol.fold_batch_norm=true", "protocol.channels_last=true", "batch_size=4"],
}

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_shapes("val", tmp_path_factory.mktemp("shapes"))


def run(entry: str, *overrides: str) -> dict[str, Any]:
    where = ["device=cpu", "results.dir=results", "hydra.run.dir=run", "measure=[accuracy,complexity]"]
    assert bench.main([f"entry={entry}", *where, *overrides]) == 0
    record: dict[str, Any] = json.loads(Path("run/record.json").read_text(encoding="utf-8"))
    return record


@pytest.mark.parametrize("entry", ENTRIES)
def test_exact_whatever_the_way(
    entry: str, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["zoo.bench"])
    found: dict[str, list[float]] = {}
    for way, overrides in WAYS.items():
        record = run(entry, f"data.root={shapes}", *overrides)
        assert record["checkpoint"]["hash_evidence"] == "full"
        assert not record["data"]["partial"]
        assert {cell["verdict"] for cell in record["verdict"].values()} == {"EXACT"}, way
        assert {"box_AP", "params_m"} <= record["verdict"].keys()
        for metric in record["verdict"].keys() & {"box_AP", "mask_AP"}:
            found.setdefault(metric, []).append(record["measured"][metric])
    for values in found.values():
        assert max(values) - min(values) < 0.01, "float noise stays far under the last printed digit"
    assert capsys.readouterr().out.count("EXACT") >= 4


def test_a_damaged_embedded_checkpoint_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from zoo.checkpoints import fetch_checkpoint

    (tmp_path / f"{ENTRIES[0]}.safetensors").write_bytes(b"something else")
    monkeypatch.setattr(fetch_checkpoint, "EMBEDDED", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["zoo.bench"])
    status = bench.main([f"entry={ENTRIES[0]}", "device=cpu", "results.dir=results", "hydra.run.dir=run"])
    error = capsys.readouterr().err
    assert status == 1
    assert "is not the one this version of zoo was released with" in error
    assert error.strip().splitlines()[-1].startswith("next: restore the file")
