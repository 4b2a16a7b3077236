"""The embedded zoo: what a newcomer runs ends EXACT; folded, in batches the digits are the same, and not compared."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from command_lines import last_wins
from committed import committed_results

from zoo import bench
from zoo.catalog.entry import entry_names, read_entry
from zoo.data.shapes.dataset import prepare_shapes
from zoo.results.verify.verification import verify

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


def settings(folder: Path, *overrides: str) -> list[str]:
    where = ["device=cpu", f"results.dir={folder}/results", "measure=[accuracy,complexity]"]
    return last_wins(*where, *overrides)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_shapes("val", tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module")
def swept(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep over the whole embedded zoo: its results and its runs."""
    folder = tmp_path_factory.mktemp("swept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYDRA_FULL_ERROR", "1")
        patch.setattr(sys, "argv", ["zoo.bench"])
        # With the folder given the annotations alone tell that it is the embedded data.
        where = settings(folder, f"hydra.sweep.dir={folder}/runs", f"data.root={shapes}")
        assert bench.main(["--multirun", "entry=glob(shapes_*)", *where]) == 0
    return folder


def run(entry: str, *overrides: str) -> dict[str, Any]:
    assert bench.main([f"entry={entry}", *settings(Path(), "hydra.run.dir=run", *overrides)]) == 0
    return read(Path("run"))


def read(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "record.json").read_text(encoding="utf-8"))
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
def test_exact(entry: str, swept: Path) -> None:
    (folder,) = (swept / "runs").glob(f"*_{entry}")
    record = read(folder)
    assert record["checkpoint"]["hash_evidence"] == "full"
    assert record["data"]["known"]
    assert not record["data"]["partial"]
    assert {cell["verdict"] for cell in record["verdict"].values()} == {"EXACT"}
    assert record["verdict"].keys() == {*MEASURED[entry], "params_m"}
    assert accuracy_of(record, entry) == pytest.approx(MEASURED[entry], abs=0.01)


def test_the_committed_results_hold(swept: Path, tmp_path: Path) -> None:
    found = verify(swept / "results", committed_results(tmp_path / "committed"), [read_entry(name) for name in ENTRIES])
    assert not found.failures
    assert {(item.record.entry, item.metric) for item in found.comparisons} >= {
        (entry, metric) for entry in ENTRIES for metric in (*MEASURED[entry], "params", "macs")
    }


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
