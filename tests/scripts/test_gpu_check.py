"""scripts/gpu_check.py: missing packages come first, what needs them is skipped, a failing line has its goal."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "scripts"))

import gpu_check  # noqa: E402 - the path to it comes first
from gpu import packages, runner  # noqa: E402
from gpu.lines import Line, Session, Step, check, figure  # noqa: E402
from gpu.report import Report  # noqa: E402
from gpu.steps import STEPS  # noqa: E402

SESSION = Session("cpu", Path())
GPU = Session("cuda", Path())


def never(session: Session) -> Iterator[Line]:
    raise AssertionError("a step that lacks a package runs")


def falls(session: Session) -> Iterator[Line]:
    yield figure("first", 1.0)
    raise ValueError("no such\nthing")


def step(run: object, *needs: str) -> Step:
    return Step(name="of_test", goal="all is well", run=run, needs=needs, limit_s=60)  # type: ignore[arg-type]


def test_every_missing_package_is_named_first_and_their_steps_are_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda module: None if module in ("hydra", "pycocotools") else object())
    names = [item.name for item in STEPS]
    assert gpu_check.main(["--device", "cpu", "--only", ",".join(names)]) == 1
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == "missing packages: hydra-core, pycocotools"
    skips = [line for line in rest if " SKIP " in line and not line.startswith("|")]
    assert [line.split()[0] for line in skips] == names
    assert all("needs hydra-core" in line and "goal: " in line for line in skips)


def test_a_package_by_the_name_it_is_imported_by() -> None:
    assert packages.missing(["pyyaml", "opencv-python-headless", "no-such-package"]) == ["no-such-package"]
    assert {"torch", "hydra-core", "pyyaml", "tqdm"} <= set(packages.runtime_packages())
    assert not packages.missing(packages.runtime_packages())


def test_what_lacks_a_package_does_not_run() -> None:
    (line,) = runner.run_step(step(never, "pyyaml"), SESSION, ["pyyaml"], 60, threading.Event())
    assert (line.name, line.status, line.goal, line.note) == ("of_test", "SKIP", "all is well", "needs pyyaml")


def test_nothing_is_begun_without_time() -> None:
    (line,) = runner.run_step(step(never), GPU, [], 0.0, threading.Event())
    assert (line.status, line.goal) == ("SKIP", "all is well")


def test_an_error_is_a_failure_with_the_goal(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = runner.findings(step(falls), SESSION)
    assert (first.status, first.value) == ("info", 1.0)
    assert str(second) == "FAIL  of_test  goal: all is well  ValueError: no such thing"
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "at_least", "at_most", "status", "goal"),
    [
        (1.2, 1.15, None, "ok", ">= 1.15"),
        (1.1, 1.15, None, "FAIL", ">= 1.15"),
        (1.1, 0.5, 1.0, "FAIL", ">= 0.5 and <= 1"),
        (float("nan"), 0.5, None, "FAIL", ">= 0.5"),
        (3.0, None, None, "info", ""),
    ],
)
def test_figures(value: float, at_least: float | None, at_most: float | None, status: str, goal: str) -> None:
    line = figure("speed", value, "ms", at_least=at_least, at_most=at_most)
    assert (line.status, line.goal) == (status, goal)
    assert goal in str(line)


def test_times_are_judged_on_a_gpu_alone() -> None:
    assert GPU.timed(figure("speed", 0.5, at_least=1.0)).status == "FAIL"
    line = SESSION.timed(figure("speed", 0.5, at_least=1.0))
    assert (line.status, line.goal) == ("info", ">= 1")


def test_the_table_is_there_from_the_first_line_on(tmp_path: Path) -> None:
    found, table = tmp_path / "found.json", tmp_path / "table.md"
    report = Report({"card": "H100", "torch": "2.11"}, ["speed", "answers", "rest"], found, table)
    report.begin("answers", "right")
    report.begin("speed", "fast")
    report.add("answers", Line("all", "ok"))
    report.add("speed", Line("a | b", "FAIL", 0.51234, "ms", ">= 1", "slow"))
    report.end("speed", 3.2)
    text = table.read_text(encoding="utf-8")
    assert text == str(report)
    assert text.startswith("card H100, torch 2.11\n")
    assert "| speed | a \\| b | 0.5123 ms | >= 1 | FAIL | slow |\n| answers | all |" in text
    assert text.endswith("1 ok, 1 FAIL. Seconds: speed 3 s.\nNot at their end: answers, rest.\n")
    steps = json.loads(found.read_text(encoding="utf-8"))["steps"]
    assert {name: (step["seconds"], len(step["lines"])) for name, step in steps.items()} == {
        "speed": (3.2, 1),
        "answers": (None, 1),
        "rest": (None, 0),
    }
    assert sorted(tmp_path.iterdir()) == [found, table]


def test_it_ended_well_where_every_step_did() -> None:
    report = Report({}, ["speed"], None, None)
    report.begin("speed", "fast")
    report.add("speed", Line("a", "ok"))
    assert not report.ended_well, "it is not at its end"
    report.end("speed", 1.0)
    assert report.ended_well
    report.add("speed", Line("b", "FAIL"))
    assert not report.ended_well


def test_steps_that_take_times_come_first() -> None:
    timed = [item.timed for item in STEPS]
    assert timed == sorted(timed, reverse=True)
    assert [item.name for item in STEPS if item.timed] == ["inference", "training_speed", "yolo", "masks", "feeding"]


def sleeps(session: Session) -> Iterator[Line]:
    yield Line("begun", "info")
    time.sleep(600)


@pytest.mark.parametrize("stopped", [False, True], ids=["out of time", "stopped"])
def test_a_step_is_ended_in_time(stopped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "CPU_FACTOR", 2 / 60)  # two seconds
    stop, found = threading.Event(), []
    for line in runner.run_step(step(sleeps), SESSION, [], 60, stop):
        found.append(str(line))
        if stopped:
            stop.set()
    assert found[0] == "info  begun"
    assert found[1:] == ([] if stopped else ["FAIL  of_test  goal: all is well  not at its end after 2 s"])


def meets_the_others(session: Session) -> Iterator[Line]:
    own = session.folder / multiprocessing.current_process().name
    own.touch()
    deadline = time.monotonic() + 20
    while len(list(session.folder.iterdir())) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    yield check("three at once", len(list(session.folder.iterdir())) == 3, "all are there")


def is_alone(session: Session) -> Iterator[Line]:
    yield check("alone", not list(session.folder.iterdir()), "nobody else")


def test_steps_without_times_run_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    others = [dataclasses.replace(step(meets_the_others), name=name) for name in "abc"]
    timed = dataclasses.replace(step(is_alone), name="timed", timed=True)
    monkeypatch.setattr(gpu_check, "STEPS", [*others, timed])
    monkeypatch.setattr(gpu_check, "_has_gpu", lambda: True)
    monkeypatch.setattr(gpu_check, "machine", lambda device: {"device": device})
    assert gpu_check.main([]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1] == "== timed: all is well"
    assert out.count("| all are there | ok |") == 3
    assert "4 ok. Seconds: " in out


@pytest.mark.nightly
def test_a_check_that_is_ended_leaves_its_table_and_no_step(tmp_path: Path) -> None:
    command = [sys.executable, "scripts/gpu_check.py", "--device", "cpu", "--only", "distributed,cases"]
    command += ["--markdown", str(tmp_path / "table.md")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as check_of_all:
        assert check_of_all.stdout is not None
        while "== distributed" not in check_of_all.stdout.readline():
            pass
        children = psutil.Process(check_of_all.pid).children(recursive=True)
        check_of_all.terminate()
        assert check_of_all.wait(timeout=20) == 1
    assert "Not at their end: distributed, cases." in (tmp_path / "table.md").read_text(encoding="utf-8")
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


@pytest.mark.long
def test_a_step_by_itself(tmp_path: Path) -> None:
    command = [sys.executable, "scripts/gpu_check.py", "--device", "cpu", "--only", "distributed"]
    found, table = tmp_path / "found.json", tmp_path / "table.md"
    command += ["--json", str(found), "--markdown", str(table)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "missing packages: none"
    content = json.loads(found.read_text(encoding="utf-8"))
    assert content["machine"]["device"] == "cpu"
    assert [line["status"] for line in content["steps"]["distributed"]["lines"]] == ["ok"] * 3
    assert table.read_text(encoding="utf-8").count("| distributed |") == 3


def test_an_unknown_step_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        gpu_check.main(["--only", "speeed"])
    assert ended.value.code == 2
    assert "no step 'speeed'" in capsys.readouterr().err
