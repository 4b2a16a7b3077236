"""The embedded zoo: what a newcomer runs ends EXACT; folded, in batches the digits are the same, and not compared."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from command_lines import last_wins

from zoo import bench
from zoo.catalog.entry import entry_names, read_entry
from zoo.data.shapes.dataset import prepare_shapes

ENTRIES = [name for name in entry_names() if name.startswith("shapes_")]

MEASURED = {
    "shapes_faster_rcnn_r10_fpn": {"box_AP": 58.025, "box_AP50": 79.915, "box_AP75": 69.892},
    "shapes_faster_rcnn_r10_fpn_giou": {"box_AP": 62.993, "box_AP50": 84.390, "box_AP75": 76.406},
    "shapes_mask_rcnn_r10_fpn": {
        "box_AP": 60.605,
        "box_AP50": 81.780,
        "box_AP75": 71.011,
        "mask_AP": 53.312,
        "mask_AP50": 78.419,
        "mask_AP75": 60.698,
    },
    "shapes_retinanet_r10_fpn": {"box_AP": 21.916, "box_AP50": 34.218, "box_AP75": 24.601},
    "shapes_yolov8_p": {"box_AP": 66.807, "box_AP50": 80.199, "box_AP75": 75.924},
}
"""Every published accuracy with the digits that it was published from."""

OTHERWISE = ["protocol.fold_batch_norm=true", "protocol.channels_last=true", "batch_size=4"]

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_shapes("val", tmp_path_factory.mktemp("shapes"))


def run(entry: str, *overrides: str) -> dict[str, Any]:
    where = ["device=cpu", "results.dir=results", "hydra.run.dir=run", "measure=[accuracy,complexity]"]
    assert bench.main(last_wins(f"entry={entry}", *where, *overrides)) == 0
    record: dict[str, Any] = json.loads(Path("run/record.json").read_text(encoding="utf-8"))
    return record


def accuracy_of(record: dict[str, Any], entry: str) -> dict[str, float]:
    return {metric: record["measured"][metric] for metric in MEASURED[entry]}


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["zoo.bench"])


def test_every_embedded_entry_is_measured_here() -> None:
    assert list(MEASURED) == ENTRIES


@pytest.mark.parametrize("entry", ENTRIES)
def test_exact(entry: str, shapes: Path) -> None:
    # With the folder given the annotations alone tell that it is the embedded data.
    record = run(entry, f"data.root={shapes}")
    assert record["checkpoint"]["hash_evidence"] == "full"
    assert record["data"]["known"]
    assert not record["data"]["partial"]
    assert {cell["verdict"] for cell in record["verdict"].values()} == {"EXACT"}
    assert record["verdict"].keys() == {*MEASURED[entry], "params_m"}
    assert accuracy_of(record, entry) == pytest.approx(MEASURED[entry], abs=0.01)


@pytest.mark.parametrize("entry", ["shapes_retinanet_r10_fpn", "shapes_yolov8_p"])
def test_folded_in_batches_the_digits_are_the_same_and_not_compared(entry: str, shapes: Path) -> None:
    record = run(entry, f"data.root={shapes}", *OTHERWISE)
    assert accuracy_of(record, entry) == pytest.approx(MEASURED[entry], abs=0.01)
    assert {cell["verdict"] for cell in record["verdict"].values()} == {"NOT-COMPARED"}
    assert "batch_size=4" in record["verdict"]["box_AP"]["reason"]
    for metric, value in accuracy_of(record, entry).items():
        (cell,) = read_entry(entry).cells(metric)
        assert f"{value:.{cell.decimals}f}" == cell.text, metric
    (filed,) = Path("results/records").rglob("*.json")
    assert filed.name.startswith(f"{entry}+")


@pytest.mark.parametrize("entry", ENTRIES)
def test_no_published_number_is_near_where_its_last_digit_turns(entry: str) -> None:
    for metric, value in MEASURED[entry].items():
        (cell,) = read_entry(entry).cells(metric)
        assert cell.decimals == 1
        assert abs(value - cell.value) <= cell.half_unit - 0.02, metric


def test_a_damaged_embedded_checkpoint_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from zoo.checkpoints import fetch_checkpoint

    (tmp_path / f"{ENTRIES[0]}.safetensors").write_bytes(b"something else")
    monkeypatch.setattr(fetch_checkpoint, "EMBEDDED", tmp_path)
    status = bench.main([f"entry={ENTRIES[0]}", "device=cpu", "results.dir=results", "hydra.run.dir=run"])
    error = capsys.readouterr().err
    assert status == 1
    assert "is not the one this version of zoo was released with" in error
    assert error.strip().splitlines()[-1].startswith("next: restore the file")
