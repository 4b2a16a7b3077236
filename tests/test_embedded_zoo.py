"""The embedded zoo: a newcomer's run ends EXACT; folded and in batches the digits are equal, and not compared."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from zoo import bench
from zoo.catalog.entry import entry_names, read_entry
from zoo.data.shapes.dataset import prepare_shapes

ENTRIES = [name for name in entry_names() if name.startswith("shapes_")]

OTHERWISE = ["protocol.fold_batch_norm=true", "protocol.channels_last=true", "batch_size=4"]
"""Another condition, of which a folding entry says the first by itself."""

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_shapes("val", tmp_path_factory.mktemp("shapes"))


def run(entry: str, *overrides: str) -> dict[str, Any]:
    where = ["device=cpu", "results.dir=results", "hydra.run.dir=run", "measure=[accuracy,complexity]"]
    assert bench.main([f"entry={entry}", *where, *overrides]) == 0
    record: dict[str, Any] = json.loads(Path("run/record.json").read_text(encoding="utf-8"))
    return record


@pytest.mark.parametrize("entry_name", ENTRIES)
def test_the_row_is_exact_and_another_condition_is_not_compared(
    entry_name: str, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["zoo.bench"])
    entry = read_entry(entry_name)
    plain, other = run(entry_name, f"data.root={shapes}"), run(entry_name, f"data.root={shapes}", *OTHERWISE)
    for record in (plain, other):
        assert record["checkpoint"]["hash_evidence"] == "full"
        assert not record["data"]["partial"]
        assert record["data"]["known"]
        assert {"box_AP", "params_m"} <= record["verdict"].keys()
    assert {cell["verdict"] for cell in plain["verdict"].values()} == {"EXACT"}
    assert {cell["verdict"] for cell in other["verdict"].values()} == {"NOT-COMPARED"}
    reason = other["verdict"]["box_AP"]["reason"]
    assert reason.startswith("measured with ")
    assert "batch_size=4" in reason
    assert "protocol.channels_last=true" in reason
    for metric in plain["verdict"].keys() - {"params_m", "flops_b"}:
        decimals = entry.cells(metric)[0].decimals
        values = [record["measured"][metric] for record in (plain, other)]
        assert round(values[0], decimals) == round(values[1], decimals), metric
        assert abs(values[0] - values[1]) < 0.01, "float noise stays far under the last printed digit"
    filed = sorted(path.name for path in Path("results/records").rglob("*.json"))
    assert len(filed) == 2
    assert f"{entry_name}.json" in filed
    assert capsys.readouterr().out.count("EXACT") >= 2


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
