"""Runs of one row under several conditions, through the front door: none is lost, none is judged as another."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command_lines import last_wins
from made_up import make_record

from zoo import bench, pipeline
from zoo.catalog.entry import read_entry
from zoo.data import splits
from zoo.data.splits import Split
from zoo.results.record import Record, Times
from zoo.results.verdict import judge
from zoo.sweep.job import Job
from zoo.sweep.process import run_apart
from zoo.sweep.sweep import Sweep

ENTRY = "shapes_yolov8_p"
ONCE = ["speed.warmup=0", "speed.images=2"]
RUNS = {
    "plain": ["measure=[accuracy]"],
    "precision": ["measure=[accuracy]", "precision=bf16"],
    "batch": ["measure=[accuracy]", "batch_size=2"],
    "limit": ["measure=[accuracy]", "data.limit=2"],
    "speed": ["measure=[speed]", *ONCE],
    "poorer speed": ["measure=[speed]", *ONCE, "speed.images=1"],
}
CONDITIONS = {"precision": "precision=bf16", "batch": "batch_size=2"}
ORDERS = {
    "forward": list(RUNS),
    "backward": list(reversed(RUNS)),
}


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["zoo.bench"])


@pytest.fixture
def where(few_shapes: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where a few images are, which these runs take for the whole of a split that is known."""
    known = {"val": hashlib.sha256((few_shapes / "annotations" / "instances_val.json").read_bytes()).hexdigest()}
    open_split = splits.open_split

    def open_few(*names: str, **settings: Any) -> Split:
        return open_split(*names, **{**settings, "num_images": None, "known": known})

    monkeypatch.setattr(splits, "open_split", open_few)
    monkeypatch.setattr(splits, "known_files", lambda *_: None)
    return [f"data.root={few_shapes}", "device=cpu", "results.dir=results"]


def run(where: list[str], name: str) -> Record:
    """The record of one run, as it left it in its folder."""
    assert bench.main(last_wins(f"entry={ENTRY}", *where, f"hydra.run.dir={name}", *RUNS[name])) == 0
    return Record.read(Path(name) / "record.json")


@pytest.mark.long
@pytest.mark.parametrize("order", ["forward", pytest.param("backward", marks=pytest.mark.nightly)])
def test_every_run_has_its_place(where: list[str], order: str, capsys: pytest.CaptureFixture[str]) -> None:
    records = {name: run(where, name) for name in ORDERS[order]}
    machine = records["plain"].hardware_id
    paths = {
        "plain": f"records/{machine}/{ENTRY}.json",
        "precision": f"records/{machine}/{ENTRY}+precision-bf16.json",
        "batch": f"records/{machine}/{ENTRY}+batch_size-2.json",
        "limit": f"local/{machine}/{ENTRY}+limit-2.json",
    }
    filed = sorted(path.relative_to("results").as_posix() for path in Path("results").rglob("*.json"))
    assert filed == sorted(paths.values())
    kept = {name: Record.read(Path("results") / path) for name, path in paths.items()}
    for name, record in kept.items():
        assert record.measured["box_AP"] == records[name].measured["box_AP"], "and nothing is lost"

    row = kept["plain"]
    assert set(row.parts) == {"accuracy", "speed"}
    assert row.measured["fps"] == records["speed"].measured["fps"], "of more images, whichever came last"
    assert row.parts["speed"].images == 2
    entry = read_entry(ENTRY)
    verdicts = {name: judge(record, entry)["box_AP"] for name, record in kept.items()}
    assert verdicts["plain"].delta is not None, "the row alone is compared"
    for name, condition in CONDITIONS.items():
        found = verdicts[name]
        assert (found.verdict, found.delta, found.reason) == ("NOT-COMPARED", None, f"measured with {condition}")
    assert (verdicts["limit"].verdict, verdicts["limit"].reason) == ("PARTIAL", "not the whole split: 2 images")
    output = capsys.readouterr().out
    kept_note = "speed kept: the record before has it of 2 images, this run of 1"
    assert (kept_note in output) is (order == "forward")


def test_settings_that_say_what_the_row_says_change_nothing(where: list[str]) -> None:
    said = ["precision=fp32", "batch_size=1", "backbone=csp_p", "protocol.fold_batch_norm=true", "evaluator=vectorized"]
    records = {}
    for folder, overrides in (("plain", []), ("said", said)):
        fixed = [f"entry={ENTRY}", *where, f"hydra.run.dir={folder}", "measure=[complexity]"]
        assert bench.main(last_wins(*fixed, *overrides)) == 0
        records[folder] = Record.read(Path(folder) / "record.json")
    assert records["said"].identity == records["plain"].identity
    assert len(list(Path("results").rglob("*.json"))) == 1


# --- what is the user's own -----------------------------------------------------------------------


def evaluate(where: list[str], folder: str, *overrides: str) -> int:
    fixed = [f"entry={ENTRY}", *where, f"hydra.run.dir={folder}", "measure=[complexity]"]
    return bench.main(last_wins(*fixed, *overrides))


def filed() -> list[str]:
    """Files below the results folder, without the machine."""
    return sorted(f"{path.parts[1]}/{path.name}" for path in Path("results").rglob("*.json"))


def test_data_of_ones_own_leaves_the_row_alone(
    where: list[str], few_shapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(where, "plain") == 0
    (row,) = Path("results").rglob("*.json")
    before = row.read_bytes()
    mine = Path("parking")
    shutil.copytree(few_shapes, mine)
    annotations = mine / "annotations" / "instances_val.json"
    annotations.write_bytes(annotations.read_bytes() + b"\n")
    capsys.readouterr()
    assert evaluate([*where, "data.root=parking"], "mine", "measure=[accuracy]") == 0
    assert row.read_bytes() == before
    assert filed() == [f"local/{ENTRY}+data-shapes-parking.json", f"records/{ENTRY}.json"]
    record = Record.read(Path("mine") / "record.json")
    found = judge(record, read_entry(ENTRY))["box_AP"]
    assert (found.verdict, found.delta) == ("NOT-COMPARED", None)
    told = f"instances_val.json ({annotations.stat().st_size:,} bytes, "
    assert (found.reason or "").startswith(told)
    assert "is not the annotation file of shapes val (485,171 bytes, 931 annotations, sha256 " in (found.reason or "")
    output = capsys.readouterr()
    assert f"zoo forget {ENTRY}+data-shapes-parking --results-dir results" in output.out


def test_a_run_under_a_name(where: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(where, "a", "name=mine") == 0
    assert evaluate(where, "b", "name=mine", "workers=0") == 0, "of the same identity"
    assert filed() == ["local/mine.json"]
    assert Record.read(Path("a") / "record.json").label == "mine"
    capsys.readouterr()
    assert evaluate(where, "c", "name=mine", "precision=bf16") == 2
    error = capsys.readouterr().err
    assert "name=mine: " in error
    assert "holds a run under other conditions" in error
    assert not (Path("c") / "record.json").exists(), "before any work is done"
    assert filed() == ["local/mine.json"]


@pytest.mark.parametrize("name", ["2nd", "a/b", "../x", "_a", "a b", "a+b", "x" * 61, ENTRY, "'a\u00e9'"])
def test_what_is_no_name(where: list[str], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(where, "run", f"name={name}" if name.isascii() and " " not in name else f"name='{name}'") == 2
    assert "next: " in capsys.readouterr().err
    assert not Path("results").exists()


def test_a_sweep_has_names_of_its_own(where: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--multirun", f"entry={ENTRY},shapes_retinanet_r10_fpn", *where, "name=mine"]) == 2
    assert "name=mine is for one run" in capsys.readouterr().err


def test_an_interrupted_run_is_filed_nowhere(where: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "possible", interrupted)
    assert evaluate(where, "run") not in (0, 2)
    record = Record.read(Path("run") / "record.json")
    assert (record.status, record.reason) == ("failed", "interrupted")
    assert record.hardware is not None
    assert list(Path().rglob("results/**/*.json")) == []


def test_a_device_that_is_not_there_makes_no_machine(where: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate([*where, "device=cuda:7"], "run") == 1
    assert "device=cuda:7" in capsys.readouterr().err
    assert Record.read(Path("run") / "record.json").status == "blocked"
    assert list(Path().rglob("results/**/*.json")) == []


# --- sweeps ---------------------------------------------------------------------------------------


def sweep(where: list[str]) -> int:
    entries = f"entry={ENTRY},shapes_retinanet_r10_fpn"
    return bench.main(["--multirun", entries, *where, "measure=[complexity]", "hydra.sweep.dir=sweep"])


def test_a_sweep_repeated_into_its_folder(
    where: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(where) == 0
    output = capsys.readouterr().out
    assert f"2 of 2 measured; records under {Path('sweep').absolute()}" in output
    table = output[output.index("\nentry ") :]
    assert len([line for line in table.splitlines() if line.split()[1:2] == ["MEASURED"]]) == 2

    for path in Path("sweep").rglob("record.json"):  # as if that had been a second ago, at least
        document = json.loads(path.read_text(encoding="utf-8"))
        document["times"]["started"] = "2026-01-01T00:00:00+00:00"
        path.write_text(json.dumps(document), encoding="utf-8")
        os.utime(path, (NOW.timestamp() - 3600,) * 2)

    def killed(job: Job) -> int:
        """A job whose launcher is killed with it, where it is of one row."""
        return 1 if job.config["entry"]["name"] == ENTRY else run_apart(job)

    monkeypatch.setattr("zoo.sweep.sweep.run_apart", killed)
    assert sweep(where) == 1
    output = capsys.readouterr().out
    assert "1 of 2 measured" in output
    (line,) = [line for line in output.splitlines() if "FAILED" in line]
    assert line.split()[0] == ENTRY
    assert "its launcher ended before it" in line, "the record of the sweep before is not its own"


NOW = datetime.now(UTC).replace(microsecond=0)


def job(folder: str, started: datetime | None, **more: Any) -> Path:
    """The folder of a job that began now, with a record of a run that began at some time."""
    config = Path("sweep", folder, ".hydra", "config.yaml")
    config.parent.mkdir(parents=True)
    config.write_text("a: 1\n", encoding="utf-8")
    if started is not None:
        times = Times(started=started.isoformat(timespec="seconds"), finished=None, seconds=1.5)
        record = make_record("mmdet_a", **more)
        record.times = times
        record.write(Path("sweep", folder, "record.json"))
    return config


def summary(capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """Exit status and lines of the summary of a sweep that began now."""
    status = Sweep(Path("sweep"), jobs=1, started=NOW).summary()
    return status, capsys.readouterr().out.strip().splitlines()


def test_the_summary_of_a_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    job("0", NOW, measured={"box_AP": 37.4, "fps": 60.0})
    status, lines = summary(capsys)
    assert status == 0
    assert lines[2].split()[:5] == ["mmdet_a", "MEASURED", "37.40", "60.00", "1.50"]
    job("1", NOW + timedelta(seconds=3), status="blocked", reason="link dead\nand more")
    status, lines = summary(capsys)
    assert status == 1
    assert lines[2].split() == ["mmdet_a", "BLOCKED", "-", "-", "1.50", "link", "dead"]
    assert lines[-1].startswith("1 of 2 measured")


def test_what_an_earlier_sweep_left_is_not_of_this_one(capsys: pytest.CaptureFixture[str]) -> None:
    gone = job("0", NOW - timedelta(hours=1))
    os.utime(gone, (NOW.timestamp() - 3600,) * 2)  # a job that this sweep does not have
    job("1", NOW)
    assert summary(capsys)[1][-1].startswith("1 of 1 measured")
    old = job("2", NOW - timedelta(hours=1)).parents[1] / "record.json"  # begun now, and killed before it left a record
    os.utime(old, (NOW.timestamp() - 3600,) * 2)
    job("3", None)
    status, lines = summary(capsys)
    assert status == 1
    assert [line.split()[:2] for line in lines[2:-1]] == [["2", "FAILED"], ["3", "FAILED"], ["mmdet_a", "MEASURED"]]


def test_what_was_measured_before_counts(capsys: pytest.CaptureFixture[str]) -> None:
    job("0", NOW - timedelta(hours=1), measured={"box_AP": 37.4})  # written now: nothing had to be added to it
    status, lines = summary(capsys)
    assert status == 0
    assert lines[2].split()[:3] == ["mmdet_a", "MEASURED", "37.40"]
    assert lines[2].endswith("measured before")


def test_a_sweep_without_jobs_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    Path("sweep").mkdir()
    assert summary(capsys)[0] == 1
