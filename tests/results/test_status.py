"""What is known of every row: by the records of rows, and by those of attempts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_up import MACHINE, make_catalogue, make_record

from zoo import cli
from zoo.catalog.entry import read_entries
from zoo.results.ledger import Ledger
from zoo.results.run_folder import taken
from zoo.results.status import row_status


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_catalogue(tmp_path, monkeypatch, "mmdet_a", "mmdet_b", "mmdet_c", "paddle_d")
    folder = tmp_path / "results"
    add(folder, "mmdet_a")
    add(folder, "mmdet_a", status="failed", reason="out of memory", next_step="buy some", hardware="epyc")
    add(folder, "mmdet_b", status="blocked", reason="link\ndead", weights=None, images=None)
    for trial in ({"name": "mine"}, {"changes": ("neck=pafpn",)}, {"partial": True, "conditions": ("data.limit=5",)}):
        add(folder, "mmdet_c", **trial)
    add(folder, "mmdet_c", trained=True, hash_evidence="none")
    add(folder, "mmdet_c", status="failed", reason="out of memory", conditions=("precision=bf16",))
    return folder


def add(folder: Path, entry: str, **changes: Any) -> None:
    Ledger(folder).file(make_record(entry, **changes))


def test_a_line_for_each_machine_that_a_row_was_tried_on(results: Path) -> None:
    lines = row_status(results, read_entries())
    assert [(line.entry, line.state, line.machine, line.reason) for line in lines] == [
        ("mmdet_a", "failed", "epyc", "out of memory"),
        ("mmdet_a", "done", MACHINE, None),
        ("mmdet_b", "blocked", MACHINE, "link\ndead"),
        ("mmdet_c", "missing", None, None),
        ("paddle_d", "missing", None, None),
    ]
    assert [line.next_step for line in lines[:2]] == ["buy some", None]
    assert lines[1].finished == "2026-01-01T00:00:00+00:00"


def test_results_of_their_own_are_listed_as_they_are_forgotten(results: Path) -> None:
    names = [name for name, _ in Ledger(results).named()]
    assert names == [
        *("mine", "mmdet_a+failed", "mmdet_b+blocked", "mmdet_c+limit-5", "mmdet_c+neck-pafpn"),
        "mmdet_c+precision-bf16+failed",
    ]
    for name in names:
        Ledger(results).forget(name)
    assert Ledger(results).named() == []
    assert {line.state for line in row_status(results, read_entries())} == {"done", "missing"}


def test_the_command(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--results-dir", str(results)]
    assert cli.main(["status", "mmdet_b", "--format", "json", *where]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["state"], row["machine"], row["reason"]) == ("blocked", MACHINE, "link dead")
    assert cli.main(["status", *where]) == 0
    output = capsys.readouterr().out
    assert "mine" in output.split("under names of their own")[1]
    assert cli.main(["forget", "mine", *where]) == 0
    assert capsys.readouterr().out.startswith("removed ")
    assert cli.main(["forget", "mine", *where]) == 2
    assert "no local result 'mine'" in capsys.readouterr().err


def test_a_row_that_is_at_work(results: Path, tmp_path: Path) -> None:
    job = tmp_path / "multirun" / "2026-11-27_08-00-00-000001" / "0_mmdet_a"
    single = tmp_path / "outputs" / "mmdet_c" / "2026-11-27_08-00-00-000001"
    below = [tmp_path / "multirun", tmp_path / "outputs"]

    def running() -> list[tuple[str, str | None]]:
        lines = row_status(results, read_entries(), runs=below)
        return [(line.entry, line.reason) for line in lines if line.state == "running"]

    progress = {"stage": "evaluate", "done": 1200, "total": 5000, "unit": "img", "per_second": 34.2}
    with taken(job), taken(single):
        (job / "progress.json").write_text(json.dumps(progress), encoding="utf-8")
        assert running() == [
            ("mmdet_a", f"evaluate 1200 of 5000, 34.2 img/s in {job}"),
            ("mmdet_c", f"in {single}"),
        ]
    assert running() == []


def test_what_does_not_stand_any_more_is_stale_and_says_why(results: Path) -> None:
    lines = row_status(results, read_entries(), lambda record: f"{record.entry}: torch 2.14 -> 2.15")
    assert [line.state for line in lines] == ["failed", "stale", "blocked", "missing", "missing"]
    assert (lines[1].reason, lines[1].next_step) == ("mmdet_a: torch 2.14 -> 2.15", "measure it anew with resume=true")


def test_the_command_says_why(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["status", "mmdet_a", "--format", "json", "--results-dir", str(results)]

    def state() -> list[tuple[str, str]]:
        assert cli.main(command) == 0
        return [(row["state"], row["reason"]) for row in json.loads(capsys.readouterr().out)]

    found: dict[str, str] = {}
    monkeypatch.setattr("zoo.config.remaining.stale_row", lambda *_: found)
    assert state()[1] == ("done", "")
    found["accuracy"] = "annotations"
    assert state()[1] == ("stale", "annotations")


def test_a_row_that_is_faulty_by_now_does_not_hide_the_others(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["status", "--format", "json", "--results-dir", str(results)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["state"] for row in rows] == ["failed", "stale", "blocked", "missing", "missing"]
    assert rows[1]["reason"], "this made-up catalogue has rows that cannot be composed"
