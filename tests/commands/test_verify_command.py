"""`zoo verify` from the command line, on copies of the committed results of the embedded zoo."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from committed import committed_results

from zoo import cli

Capture = pytest.CaptureFixture[str]
ROW = "shapes_yolov8_p"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """What is committed, and the same once more as what was measured just now, on another machine."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    committed, measured = committed_results(tmp_path / "committed"), tmp_path / "measured"
    shutil.copytree(committed / "records", measured / "records")
    change(measured, "*", lambda record: record["hardware"].update(id="cpu-of-a-runner"))
    return committed, measured


def change(folder: Path, row: str, how: Callable[[dict[str, Any]], None]) -> None:
    """Change the records of a row as somebody would by hand."""
    for path in (folder / "records").glob(f"*/{row}.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        how(record)
        path.write_text(json.dumps(record), encoding="utf-8")


def verify(folders: tuple[Path, Path], *more: str) -> int:
    committed, measured = folders
    return cli.main(["verify", str(measured), "shapes", "--results-dir", str(committed), *more])


def test_results_that_hold_are_one_line(folders: tuple[Path, Path], capsys: Capture) -> None:
    assert verify(folders) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("5 of 5 rows measured on cpu-of-a-runner; ")
    assert line.endswith(" numbers held against the committed ones, 0 of them moved: they hold")


def test_a_number_that_was_tampered_with_is_named_with_a_next_step(
    folders: tuple[Path, Path], capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary, report = tmp_path / "summary.md", tmp_path / "new" / "report.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    change(folders[0], ROW, lambda record: record["measured"].update(box_AP=67.9))
    assert verify(folders, "--markdown", str(report)) == 1
    said = capsys.readouterr().out.splitlines()
    (tables,) = (line for line in said if line.startswith("stale table: tables/"))
    assert {".csv", ".json", ".md"} == set(re.findall(r"\.(?:csv|json|md)\b", tables)), "of what the record says now"
    (moved,) = (i for i, line in enumerate(said) if line.startswith(f"stale table: {ROW}: not as committed of "))
    assert said[moved].endswith(": box_AP 67.900 → 66.807 (±0.05)")
    committed, measured = folders
    assert said[moved + 1] == (
        f"  next: find out what changed it, or take the number of today: `zoo merge {measured} --results-dir "
        f"{committed}`, then `zoo table --results-dir {committed}`"
    )
    assert said[-1].endswith(", 1 of them moved: 2 failures")
    assert report.read_text(encoding="utf-8") == summary.read_text(encoding="utf-8")
    assert re.search(rf"^\| \*\*stale table\*\* +\| {ROW} +\| ", report.read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_failures_as_json(folders: tuple[Path, Path], capsys: Capture) -> None:
    change(folders[1], ROW, lambda record: record["measured"].update(params=741_719))
    assert verify(folders, "--format", "json") == 1
    (failure,) = json.loads(capsys.readouterr().out)
    assert failure["cause"] == "stale table"
    assert failure["subject"] == ROW
    assert failure.keys() == {"cause", "subject", "message", "next_step"}


def test_usage(folders: tuple[Path, Path], capsys: Capture) -> None:
    assert cli.main(["verify", str(folders[1]), "nonsense"]) == 2
    assert cli.main(["verify", str(folders[1] / "nowhere"), "shapes"]) == 2
    assert "next: name the results.dir of a sweep" in capsys.readouterr().err


def test_results_that_hold_are_a_csv_of_no_rows(folders: tuple[Path, Path], capsys: Capture) -> None:
    assert verify(folders, "--format", "csv") == 0
    assert capsys.readouterr().out == "cause,subject,message,next_step\n"


def test_a_summary_that_cannot_be_written_is_an_error(
    folders: tuple[Path, Path], capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "none" / "summary.md"))
    assert verify(folders) == 1
    assert "summary.md: No such file or directory\nnext: " in capsys.readouterr().err
