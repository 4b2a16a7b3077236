"""Trainings with several seeds as one row: mean, spread, verdict."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ENTRY
from made_up import HARDWARE, cell, make_catalogue, make_entry, make_record

from zoo import bench, cli
from zoo.results.diff import render_diff
from zoo.results.record import Record
from zoo.results.seeds import all_records, label, over_seeds, seed_ledger, spread, with_seeds
from zoo.results.table import write_tables
from zoo.results.verdict import judge

TRAINING = {"images": 100, "annotations_sha256": "t", "init_from": {"sha256": "b"}, "epochs": 12}
ENTRY_A = make_entry(cell("37.4"), cell("21.4", metric="fps", hardware="V100"))


def trained(seed: int, box_AP: float | None, **more: Any) -> Record:  # noqa: N803 - the metric's name
    """A record of a training with one seed."""
    protocol = {
        "name": "mmdet", "version": 1, "precision": "fp32", "config": {"run": {"name": "train"}}, "config_sha256": "a",
        "training": TRAINING,
    }  # fmt: skip
    protocol |= more.pop("protocol", {})
    measured = {"box_AP": box_AP, "box_AP50": 58.0 + seed, "params": 7, "per_class": {"box_AP": {"disc": 1.0}}}
    times = {"finished": f"2026-01-0{seed + 1}T00:00:00+00:00"}
    values = {"seed": seed, "protocol": protocol, "measured": measured, "times": times, **more}
    return make_record(checkpoint={"sha256": str(seed), "hash_evidence": "none"}, **values)


def file_all(results: Path, *records: Record) -> None:
    for record in records:
        seed_ledger(results, record.seed).add(record)


def test_seeds_of_one_recipe_are_one_row() -> None:
    (row,) = over_seeds([trained(0, 37.2), trained(1, 37.5), trained(2, 37.8)])
    assert row.measured["box_AP"] == pytest.approx(37.5)
    assert row.measured["draws"] == {"box_AP": [37.2, 37.5, 37.8], "box_AP50": [58.0, 59.0, 60.0]}
    assert row.measured["params"] == 7
    assert "per_class" not in row.measured
    assert row.protocol["training"]["seeds"] == [0, 1, 2]
    assert spread(row, "box_AP") == pytest.approx(0.3)  # sqrt((0.09 + 0 + 0.09) / 2)
    assert label(row) == "mmdet_a (trained, 3 seeds)"
    outcome = judge(row, ENTRY_A)["box_AP"]
    assert (outcome["verdict"], outcome["measured"]) == ("NUMERIC", pytest.approx(37.5))
    assert outcome["reason"] == "trained here, 3 seeds: within ±0.39"  # 1.96 * 0.15 * sqrt(4 / 3) + 0.05
    # One seed alone would have passed at 37.85, the mean of three does not.
    apart = over_seeds([trained(0, 37.8), trained(1, 37.85), trained(2, 37.9)])[0]
    assert judge(trained(0, 37.85), ENTRY_A)["box_AP"]["verdict"] == "NUMERIC"
    assert judge(apart, ENTRY_A)["box_AP"]["verdict"] == "DRIFT"


@pytest.mark.parametrize(
    "other",
    [
        trained(1, 37.5, entry="mmdet_a+12345678", based_on="mmdet_a"),
        trained(1, 37.5, hardware={"id": "v100"}),
        trained(1, 37.5, data={"name": "coco2017", "images": 10, "partial": True}),
        trained(1, 37.5, protocol={"config_sha256": "another"}),
        trained(1, 37.5, protocol={"version": 2}),
        trained(1, 37.5, protocol={"training": {**TRAINING, "images": 99}}),
        trained(1, 37.5, protocol={"training": {**TRAINING, "init_from": "random init"}}),
        trained(1, None, status="failed", reason="diverged"),
    ],
)
def test_another_recipe_is_another_row(other: Record) -> None:
    rows = over_seeds([trained(0, 37.2), other])
    assert rows == [trained(0, 37.2), other]
    assert label(rows[0]) == "mmdet_a (trained, 1 seed)"
    assert spread(rows[0], "box_AP") is None


def test_a_run_is_judged_with_the_seeds_that_are_there(tmp_path: Path) -> None:
    file_all(tmp_path, trained(0, 37.2), trained(1, 30.0))
    newest = dataclasses.replace(trained(1, 37.6), times={"finished": "2026-02-01"})
    assert with_seeds(newest, tmp_path).measured["draws"]["box_AP"] == [37.2, 37.6], "a seed counts once"
    plain = make_record()
    assert with_seeds(plain, tmp_path) is plain
    (tmp_path / "trained" / "seed_0" / "records" / HARDWARE["id"] / "mmdet_a.json").write_text("{", encoding="utf-8")
    assert with_seeds(newest, tmp_path) is newest, "a damaged record of another run must not cost this one"


def test_the_diff_shows_mean_and_spread(tmp_path: Path) -> None:
    file_all(tmp_path, trained(0, 37.2), trained(2, 37.8), trained(1, 37.5))
    text = render_diff(all_records(tmp_path), {"mmdet_a": ENTRY_A})
    (line,) = [line for line in text.splitlines() if "box_AP" in line]
    cells = [part.strip() for part in line.strip("|").split("|")]
    assert cells == [
        *("mmdet_a (trained, 3 seeds)", "box_AP", "37.4", "README.md", "37.500 ± 0.300", "+0.100", "NUMERIC"),
        "trained here, 3 seeds: within ±0.39",
    ]


def test_tables_and_commands_have_the_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_catalogue(tmp_path, monkeypatch, "mmdet_a")
    results = tmp_path / "results"
    file_all(results, trained(0, 37.2), trained(1, 37.5), trained(2, 37.8))
    paths = write_tables(results)
    with next(path for path in paths if path.suffix == ".csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["entry"] == "mmdet_a (trained, 3 seeds)"
    assert (row["box_AP"], row["box_delta"], row["box_verdict"]) == ("37.50 ± 0.30", "+0.10", "NUMERIC")
    assert cli.main(["table", "--check", "--results-dir", str(results)]) == 0
    assert cli.main(["diff", "mmdet_a", "--results-dir", str(results)]) == 0
    assert "37.500 ± 0.300" in capsys.readouterr().out


def test_a_training_from_a_file_of_ones_own_is_not_the_recipe() -> None:
    record = trained(0, 37.4, protocol={"config": {"run": {"name": "train"}, "checkpoint": {"path": "x", "url": None}}})
    outcome = judge(record, ENTRY_A)["box_AP"]
    assert outcome["verdict"] == "OTHER-WEIGHTS"
    assert outcome["reason"] == "its training began with another file than the recipe's"


def test_a_sweep_over_seeds(
    tiny_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["zoo.bench"])
    small = ["backbone=resnet10_small", "neck=fpn64", "head=faster_rcnn_small", "initial=null", "batch_size=1"]
    sizes = ["protocol.transform.size_rule={long:64,short:48}", "schedule.multi_scale.scales=[[64,48]]"]
    data = [f"data.root={tiny_coco}", "data.train.annotations=annotations/instances_val2017.json"]
    data += ["data.train.images=val2017", "results.dir=results", "hydra.sweep.dir=sweep", "run.max_steps=2"]
    what = ["--multirun", f"entry={ENTRY}", "run=train", "seed=0,1,2", "device=cpu", "measure=[accuracy]"]
    assert bench.main([*what, *small, *sizes, *data]) == 0
    folders = sorted(path.parent for path in Path("sweep").rglob("weights.pth"))
    assert [folder.name for folder in folders] == [f"{i}_{ENTRY}" for i in range(3)]
    assert len({(folder / "metrics.csv").read_bytes() for folder in folders}) == 3
    (row,) = all_records(Path("results"))
    assert row.protocol["training"]["seeds"] == [0, 1, 2]
    output = capsys.readouterr().out
    assert f"{row.entry} (trained, 3 seeds)" in output
    assert "3 of 3 measured" in output
    last = json.loads((folders[2] / "record.json").read_text(encoding="utf-8"))
    assert last["seed"] == 2
    assert "draws" not in last["measured"], "a record holds its own run"
