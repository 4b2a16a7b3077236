"""`make ci-results`: what it asks `zoo` for, how it ends; and the whole of it on the embedded zoo."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TypeAlias

import pytest

from zoo.files import PROJECT
from zoo.results.verify.checks import Cause

ZOO = """#!/bin/sh
echo "$*" >> calls
case "$1" in
run) exit "$RUN" ;;
verify) exit "$VERIFY" ;;
esac
"""
"""A stand-in for `zoo` that notes what it is asked for, and ends as it is told to."""

Done: TypeAlias = subprocess.CompletedProcess[str]

COMMANDS = Path(sys.executable).parent
"""Where `zoo` is."""


def make(folder: Path, *arguments: str, commands: Path = COMMANDS, **variables: str) -> Done:
    """Run `make ci-results` in a folder, with an environment that is there already."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (PROJECT, *sys.path))), **variables}
    for name in ("ENTRIES", "DEVICE", "CI_DIR", "ARGS", "MAKEFLAGS", "GITHUB_STEP_SUMMARY"):
        if name not in variables:
            environment.pop(name, None)
    there = ["TORCH=", "-o", ".venv/.ready", f"BIN={commands}"]
    return subprocess.run(
        ["make", "-f", str(PROJECT / "Makefile"), *there, "ci-results", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A folder with a `zoo` in it, and files that a glob would fit."""
    program = tmp_path / "zoo"
    program.write_text(ZOO, encoding="utf-8")
    program.chmod(0o755)
    (tmp_path / "shapes_file").touch()
    return tmp_path


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text(encoding="utf-8").splitlines()


def test_it_measures_into_a_folder_of_its_own_and_verifies_that(stand_in: Path) -> None:
    done = make(stand_in, commands=stand_in, RUN="0", VERIFY="0")
    assert done.returncode == 0, done.stderr
    run, verify = calls(stand_in)
    assert run == (
        "run shapes -m device=cpu measure=[accuracy,complexity,speed,memory] "
        "results.dir=outputs/ci-results/results hydra.sweep.dir=outputs/ci-results/runs"
    )
    assert verify == "verify outputs/ci-results/results shapes --markdown outputs/ci-results/results.md"


def test_its_variables_come_from_the_environment_and_globs_reach_zoo(stand_in: Path) -> None:
    chosen = {"ENTRIES": "shapes_* mmdet", "DEVICE": "cuda", "CI_DIR": "there", "ARGS": "resume=true"}
    (stand_in / "there" / "results" / "records").mkdir(parents=True)
    assert make(stand_in, commands=stand_in, RUN="0", VERIFY="0", **chosen).returncode == 0
    run, table, verify = calls(stand_in)
    assert run.startswith("run shapes_* mmdet -m device=cuda ")
    assert run.endswith(" results.dir=there/results hydra.sweep.dir=there/runs resume=true")
    assert table == "table --results-dir there/results"
    assert verify == "verify there/results shapes_* mmdet --markdown there/results.md"


@pytest.mark.parametrize(("run", "verify", "asked", "ends"), [(1, 0, 2, 0), (1, 1, 2, 2), (0, 1, 2, 2), (2, 0, 1, 2)])
def test_rows_that_cannot_be_measured_are_for_verify_to_judge(
    stand_in: Path, run: int, verify: int, asked: int, ends: int
) -> None:
    done = make(stand_in, commands=stand_in, RUN=str(run), VERIFY=str(verify))
    assert done.returncode == ends
    assert len(calls(stand_in)) == asked


def test_old_results_are_not_mixed_in(stand_in: Path) -> None:
    (stand_in / "outputs" / "ci-results").mkdir(parents=True)
    done = make(stand_in, commands=stand_in, RUN="0", VERIFY="0")
    assert done.returncode == 2
    error, step, *_ = done.stderr.splitlines()
    assert error == "error: outputs/ci-results is there already, and would be mixed with what is measured now"
    assert step.startswith("next: remove it, ")
    assert not (stand_in / "calls").exists()


def test_the_document_names_every_cause() -> None:
    text = (PROJECT / "docs" / "ci.md").read_text(encoding="utf-8")
    table = text.partition("## What makes it fail")[2].partition("## ")[0]
    assert re.findall(r"^\| ([a-z ]+) \|", table, flags=re.MULTILINE) == ["cause", *Cause]


@pytest.mark.nightly
def test_green_and_red_on_the_embedded_zoo(tmp_path: Path) -> None:
    done = make(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "outputs" / "ci-results"
    assert done.stdout.splitlines()[-1].startswith("5 of 5 rows measured on ")
    assert done.stdout.splitlines()[-1].endswith(", 0 of them moved: they hold")
    assert (folder / "results.md").read_text(encoding="utf-8").startswith("### Results: they hold\n")
    assert {path.suffix for path in (folder / "results" / "tables").rglob("*.*")} == {".csv", ".json", ".md"}

    committed = tmp_path / "results"
    shutil.copytree(PROJECT / "results", committed, ignore=shutil.ignore_patterns("local", "report"))
    path = next((committed / "records").glob("*/shapes_yolov8_p.json"))
    record = json.loads(path.read_text(encoding="utf-8"))
    record["measured"]["box_AP"] += 0.1
    path.write_text(json.dumps(record), encoding="utf-8")
    red = subprocess.run(
        [COMMANDS / "zoo", "verify", folder / "results", "shapes", "--results-dir", committed],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert red.returncode == 1
    assert "stale table: shapes_yolov8_p: not as committed of " in red.stdout
    assert "box_AP 66.907 → 66.807 (±0.05)" in red.stdout
