"""What a sweep says of itself while it runs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from made_up import make_record

from zoo.config.overrides import check
from zoo.results.record import Times
from zoo.results.run_folder import progress_of
from zoo.runtime.progress import PROGRESS_FILE, Progress
from zoo.sweep.job import Job
from zoo.sweep.sweep import Sweep, number_of_jobs
from zoo.sweep.view import View

NOW = datetime.now(UTC).replace(microsecond=0)


def begun(sweep: Path, folder: str, **progress: Any) -> Path:
    """The folder of a job that has begun."""
    job = sweep / folder
    (job / ".hydra").mkdir(parents=True, exist_ok=True)
    (job / ".hydra" / "config.yaml").write_text("a: 1\n", encoding="utf-8")
    if progress:
        (job / "progress.json").write_text(json.dumps(progress), encoding="utf-8")
    return job


def ended(sweep: Path, folder: str, **more: Any) -> None:
    record = make_record("mmdet_a", **more)
    record.times = Times(started=NOW.isoformat(timespec="seconds"))
    record.write(begun(sweep, folder) / "record.json")


def test_a_line_for_a_sweep_that_runs(tmp_path: Path) -> None:
    view = View(tmp_path, NOW, jobs=6)
    assert view.line() == "0 of 6 done"
    begun(tmp_path, "0_mmdet_a", stage="evaluate", done=1200, total=5000, unit="img", per_second=34.2)
    begun(tmp_path, "1_mmdet_b")
    ended(tmp_path, "2_mmdet_c", status="blocked", reason="no file")
    assert view.line() == ("1 of 6 done; 1 blocked; 0_mmdet_a evaluate 1200 of 5000, 34.2 img/s; 1_mmdet_b begins"), (
        "what is blocked says nothing of how long the others take"
    )
    ended(tmp_path, "3_mmdet_d")
    line = view.line()
    assert line.startswith("2 of 6 done; 1 measured; 1 blocked; 0_mmdet_a")
    assert line.endswith(" to go")


def test_what_an_earlier_sweep_left_is_no_job_of_this_one(tmp_path: Path) -> None:
    ended(tmp_path, "0_mmdet_a")
    assert View(tmp_path, NOW + timedelta(hours=1), jobs=1).line() == "0 of 1 done"


def test_how_far_a_run_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROGRESS_FILE, str(tmp_path / "progress.json"))
    assert progress_of(tmp_path) is None
    with Progress("evaluate", total=10, unit="img", done=2) as progress:
        progress.update(3)
    found = progress_of(tmp_path)
    assert found is not None
    assert (found.stage, found.done, found.total, found.unit) == ("evaluate", 5, 10, "img")
    (tmp_path / "progress.json").write_text('{"stage": "eval', encoding="utf-8")
    assert progress_of(tmp_path) is None, "just being written"


def test_a_second_process_of_a_run_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROGRESS_FILE, str(tmp_path / "progress.json"))
    with Progress("evaluate", total=10, unit="img", hidden=True) as progress:
        progress.update(3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("asked", "number"),
    [
        (["entry=glob(shapes_*)"], 5),
        (["entry=shapes_yolov8_p", "seed=0,1,2", "precision=fp32,bf16"], 6),
        (["entry=shapes_yolov8_p", "measure=[accuracy,speed]"], 1),
    ],
)
def test_number_of_jobs(asked: list[str], number: int) -> None:
    assert number_of_jobs(check(["--multirun", *asked]).given) == number


def test_what_was_measured_and_could_not_be_filed_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record in the folder of the run says "measured": it was written before the disk refused."""

    def refused(job: Job) -> int:
        ended(tmp_path, "0_mmdet_a")
        (tmp_path / "0_mmdet_a" / "log.txt").write_text(
            "row mmdet_a\nerror: cannot write results: no space left\nnext: free some space\n", encoding="utf-8"
        )
        return 1

    (tmp_path / "0_mmdet_a").mkdir()
    (tmp_path / "0_mmdet_a" / "unfiled.txt").write_text("of an earlier sweep", encoding="utf-8")
    monkeypatch.setattr("zoo.sweep.sweep.settled", lambda *_: None)
    monkeypatch.setattr("zoo.sweep.sweep.run_apart", refused)
    sweep = Sweep(tmp_path, jobs=1, started=NOW)
    config = {"sweep": {"interleave": 1}}
    assert sweep.carry_out(Job(config=config, overrides=(), run_dir=str(tmp_path / "0_mmdet_a"))) == 1
    assert View(tmp_path, NOW, jobs=1).line().startswith("1 of 1 done; 1 failed")
    assert sweep.summary() == 1
    said = capsys.readouterr()
    assert said.err == "0_mmdet_a FAILED\nerror: cannot write results: no space left\nnext: free some space\n"
    assert "measured, but not filed: cannot write results: no space left" in said.out
    assert "0 of 1 measured" in said.out
