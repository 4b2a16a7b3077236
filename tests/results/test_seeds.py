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
from made_up import MACHINE, cell, make_catalogue, make_entry, make_record

from zoo import bench, cli
from zoo.results.diff import diff_rows, render_diff
from zoo.results.ledger import Ledger
from zoo.results.record import Record, Times
from zoo.results.seeds import aggregate_seeds, label, rows, spread, with_other_seeds
from zoo.results.table import write_tables
from zoo.results.verdict import judge

TRAINING = {"images": 100, "annotations_sha256": "t", "init_from": {"sha256": "b"}, "epochs": 12}
ENTRY_A = make_entry(cell("37.4"), cell("21.4", metric="fps", hardware="V100"))


def trained(seed: int, box_AP: float | None, **more: Any) -> Record:  # noqa: N803 - the metric's name
    """A record of a training with one seed."""
    measured = {"box_AP": box_AP, "box_AP50": 58.0 + seed, "params": 7, "per_class": {"box_AP": {"disc": 1.0}}}
    finished = f"2026-01-0{seed + 1}T00:00:00+00:00"
    values = {"measured": measured, "training": TRAINING, "finished": finished, "weights": str(seed), **more}
    return make_record(trained=True, seed=seed, hash_evidence="none", **values)


def seeds_of(row: Record) -> Any:
    return (row.protocol.training or {})["seeds"]


def file_all(results: Path, *records: Record) -> None:
    for record in records:
        Ledger(results).file(record)


def test_seeds_of_one_recipe_are_one_row() -> None:
    (row,) = aggregate_seeds([trained(0, 37.2), trained(1, 37.5), trained(2, 37.8)])
    assert row.measured["box_AP"] == pytest.approx(37.5)
    assert row.measured["per_seed"] == {"box_AP": [37.2, 37.5, 37.8], "box_AP50": [58.0, 59.0, 60.0]}
    assert row.measured["params"] == 7
    assert "per_class" not in row.measured
    assert seeds_of(row) == [0, 1, 2]
    assert spread(row, "box_AP") == pytest.approx(0.3)  # sqrt((0.09 + 0 + 0.09) / 2)
    assert label(row) == "mmdet_a (trained, 3 seeds)"
    outcome = judge(row, ENTRY_A)["box_AP"]
    assert outcome.verdict == "NUMERIC"
    assert outcome.measured == pytest.approx(37.5)
    assert outcome.reason == "trained here, 3 seeds: within ±1.54, not below"  # 4.303 * 0.3 * sqrt(4 / 3) + 0.05
    # One seed alone would have passed at 37.85, the mean of three does not.
    apart = aggregate_seeds([trained(0, 37.8), trained(1, 37.85), trained(2, 37.9)])[0]
    assert judge(trained(0, 37.85), ENTRY_A)["box_AP"].verdict == "NUMERIC"
    assert judge(apart, ENTRY_A)["box_AP"].verdict == "DRIFT"


@pytest.mark.parametrize(
    "other",
    [
        trained(1, 37.5, hardware="v100"),
        trained(1, 37.5, images=10, partial=True),
        trained(1, 37.5, annotations="c" * 64),
        trained(1, 37.5, row="another"),
        trained(1, 37.5, conditions=("batch_size=8",)),
        trained(1, 37.5, version=2),
        trained(1, 37.5, training={**TRAINING, "images": 99}),
        trained(1, 37.5, training={**TRAINING, "annotations_sha256": "u"}),
        trained(1, 37.5, training={**TRAINING, "init_from": "random init"}),
        trained(1, 37.5, training={**TRAINING, "init_from": {"sha256": "c"}}),
        trained(1, None, status="failed", reason="diverged"),
    ],
)
def test_another_recipe_is_another_row(other: Record) -> None:
    first = trained(0, 37.2)
    assert aggregate_seeds([first, other]) == [first, other]
    assert label(first) == "mmdet_a (trained, 1 seed)"
    assert spread(first, "box_AP") is None


def test_the_seed_is_no_part_of_a_recipe() -> None:
    runs = [trained(seed, 37.4, conditions=() if seed == 0 else (f"seed={seed}",)) for seed in range(3)]
    (row,) = aggregate_seeds(runs)
    assert label(row) == "mmdet_a (trained, 3 seeds)"


def test_a_run_is_judged_with_the_seeds_that_are_there(tmp_path: Path) -> None:
    file_all(tmp_path, trained(0, 37.2), trained(1, 30.0))
    newest = dataclasses.replace(trained(1, 37.6), times=Times(started="2026-02-01", finished="2026-02-01"))
    per_seed = with_other_seeds(newest, tmp_path).measured["per_seed"]
    assert per_seed == {"box_AP": [37.2, 37.6], "box_AP50": [58.0, 59.0]}, "a seed counts once"
    plain = make_record()
    assert with_other_seeds(plain, tmp_path) is plain
    path = tmp_path / "records" / MACHINE / "mmdet_a+trained+seed-0.json"
    path.write_text("{", encoding="utf-8")
    assert with_other_seeds(newest, tmp_path) is newest, "a damaged record of another run must not cost this one"


def test_trainings_that_are_cut_short_have_seeds_too(tmp_path: Path) -> None:
    short = {"changes": ("run.max_steps=2",), "row": "short"}
    file_all(tmp_path, trained(0, 37.2, **short), trained(1, 37.4, **short), trained(1, 30.0))
    assert [record.measured["box_AP"] for record in rows(tmp_path)] == [30.0]
    row = with_other_seeds(trained(2, 37.6, **short), tmp_path)
    assert seeds_of(row) == [0, 1, 2]


def test_the_diff_shows_mean_and_spread(tmp_path: Path) -> None:
    file_all(tmp_path, trained(0, 37.2), trained(2, 37.8), trained(1, 37.5))
    text = render_diff(diff_rows(rows(tmp_path), {"mmdet_a": ENTRY_A}))
    (line,) = [line for line in text.splitlines() if "box_AP" in line]
    cells = [part.strip() for part in line.strip("|").split("|")]
    assert cells == [
        *("mmdet_a (trained, 3 seeds)", "box_AP", "37.4", "README.md", "37.500 ± 0.300", "+0.100", "NUMERIC"),
        "trained here, 3 seeds: within ±1.54, not below",
    ]


def test_tables_and_commands_have_the_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_catalogue(tmp_path, monkeypatch, "mmdet_a")
    results = tmp_path / "results"
    file_all(results, trained(0, 37.2), trained(1, 37.5), trained(2, 37.8))
    paths = write_tables(results)
    with next(path for path in paths if path.suffix == ".csv").open(encoding="utf-8") as file:
        missing, row = csv.DictReader(file)
    assert (missing["entry"], missing["status"]) == ("mmdet_a", "missing"), "what was trained is not the published file"
    assert row["entry"] == "mmdet_a (trained, 3 seeds)"
    assert (row["box_AP"], row["box_delta"], row["box_verdict"]) == ("37.50 ± 0.30", "+0.10", "NUMERIC")
    assert cli.main(["table", "--check", "--results-dir", str(results)]) == 0
    assert cli.main(["diff", "mmdet_a", "--results-dir", str(results)]) == 0
    assert "37.500 ± 0.300" in capsys.readouterr().out


def test_a_training_from_a_file_of_ones_own_is_not_the_recipe() -> None:
    record = trained(0, 37.4, config={"checkpoint": {"path": "x", "url": None}})
    outcome = judge(record, ENTRY_A)["box_AP"]
    assert outcome.verdict == "OTHER-WEIGHTS"
    assert outcome.reason == "its training began with another file than the recipe's"


@pytest.mark.nightly
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
    what = ["--multirun", f"entry={ENTRY}", "run=train", "seed=0,1", "device=cpu", "measure=[accuracy]"]
    assert bench.main([*what, *small, *sizes, *data]) == 0
    folders = sorted(path.parent for path in Path("sweep").rglob("weights.pth"))
    assert [folder.name for folder in folders] == [f"{i}_{ENTRY}" for i in range(2)]
    assert len({(folder / "metrics.csv").read_bytes() for folder in folders}) == 2
    assert rows(Path("results")) == [], "a training that is cut short is not the entry's"
    (row,) = aggregate_seeds(Ledger(Path("results")).attempts())
    assert seeds_of(row) == [0, 1]
    output = capsys.readouterr().out
    assert " more changes, batch_size=1, trained, 2 seeds)" in output
    assert "2 of 2 measured" in output
    last = json.loads((folders[1] / "record.json").read_text(encoding="utf-8"))
    assert last["seed"] == 1
    assert "per_seed" not in last["measured"], "a record holds its own run"


def test_the_last_run_lends_the_row_what_is_no_mean() -> None:
    later = Times(started="2026-02-01", finished="2026-02-01")
    runs = [trained(0, 37.0), dataclasses.replace(trained(1, 37.1), times=later), trained(2, 37.7)]
    (row,) = aggregate_seeds(runs)
    assert row.times == later
    assert row.checkpoint == runs[1].checkpoint
    assert row.measured["box_AP"] == pytest.approx(37.26667, abs=1e-5), "the mean, not the middle one"


def test_a_metric_that_one_seed_lacks_has_no_mean() -> None:
    runs = [trained(0, 37.2), trained(1, None), trained(2, 37.8)]
    (row,) = aggregate_seeds(runs)
    assert row.measured["per_seed"] == {"box_AP50": [58.0, 59.0, 60.0]}
    assert row.measured["box_AP"] == 37.8, "of the last run alone"
