"""Runs of a sweep whose timed rounds are interleaved: who computes when, and what becomes of one that fails."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from sweep_jobs import ENTRY, carried_out_by, job

from zoo import bench
from zoo.config.run_settings import row_config
from zoo.results.record import Record
from zoo.runtime.turns import Turn
from zoo.sweep import child, process
from zoo.sweep.interleave import Interleaving
from zoo.sweep.job import OUT_OF_MEMORY, Job
from zoo.sweep.process import JobProcess, begin_log, environment_of
from zoo.sweep.sweep import Sweep

RUN = """
import threading
from pathlib import Path
from zoo.runtime.turns import turns
from zoo.sweep.job import listen

folder = Path(job["run_dir"])
script, name, own = json.loads((folder / "script.json").read_text()), folder.name, turns()
threading.Thread(target=listen, args=(own,), daemon=True).start()

def step(what):
    with Path("steps.csv").open("a") as file:
        file.write(name + "," + what + "\\n")
    if script.get("dies_in") == what:
        if os.fork():
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(600)  # a loader of images, which holds everything open
    if script.get("hangs_in") == what:
        time.sleep(600)
    if script.get("ends_in") == what and own.taken:
        os._exit(script["status"])

step("begins")
for number in range(script["rounds"]):
    own.wait("round")
    step("round " + str(number))
if script["rounds"]:
    own.wait("rest")
    step("rest")
Path(folder / "with.json").write_text(json.dumps(own.last.interleaved_with))
"""
"""A run that does what the script in its folder says, and notes its steps."""


@pytest.fixture(autouse=True)
def _stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    carried_out_by(monkeypatch, f"exec({RUN!r})")


@pytest.fixture(scope="module")
def composed() -> Job:
    return replace(job(), own=row_config(ENTRY, training=False))


def scripted(composed: Job, name: str, rounds: int, **script: Any) -> Job:
    """A job of some rounds, in a sweep where three take turns."""
    folder = Path("sweep", name).absolute()
    folder.mkdir(parents=True)
    (folder / "script.json").write_text(json.dumps({"rounds": rounds, **script}), encoding="utf-8")
    sweep = {**composed.config["sweep"], "interleave": 3}
    config = {**composed.config, "name": name, "sweep": sweep}
    return replace(composed, config=config, run_dir=str(folder))


class Ended:
    """Notes how jobs ended, in their order."""

    def __init__(self) -> None:
        self.statuses: dict[str, int] = {}

    def __call__(self, job: Job, carry_out: Callable[[], int]) -> None:
        self.statuses[Path(job.run_dir).name] = carry_out()


def steps() -> list[str]:
    with Path("steps.csv").open(encoding="utf-8") as file:
        return [f"{name} {step}" for name, step in csv.reader(file)]


def rounds(text: str) -> list[str]:
    """Such as "a0 b0 a1"."""
    return [f"{one[0]} round {one[1]}" for one in text.split()]


def interleaved_with(name: str) -> Any:
    return json.loads(Path("sweep", name, "with.json").read_text(encoding="utf-8"))


def processes() -> set[psutil.Process]:
    """Those that this one has begun, other tests' helpers among them."""
    return set(psutil.Process().children(recursive=True))


def test_rounds_are_taken_in_turns(composed: Job) -> None:
    taken, ended = Interleaving(), Ended()
    for name, number in (("a", 3), ("b", 2), ("c", 3), ("d", 2)):
        assert ended.statuses.keys() == (set() if name != "d" else {"a", "b", "c"}), "three are together"
        taken.add(scripted(composed, name, number), ended)
    taken.finish(ended)
    assert steps() == [
        *("a begins", "b begins", "c begins"),
        *rounds("a0 b0 c0 a1 b1 c1 a2 c2"),  # the rest of b, which has no more, comes after the rounds of the others
        *("a rest", "b rest", "c rest"),
        *("d begins", *rounds("d0 d1"), "d rest"),
    ]
    assert ended.statuses == dict.fromkeys("abcd", 0)
    assert {name: interleaved_with(name) for name in "abcd"} == {
        "a": ["b", "c"],
        "b": ["c", "a"],
        "c": ["a", "b"],
        "d": [],
    }


def test_whatever_becomes_of_one_the_others_go_on(composed: Job) -> None:
    taken, ended, before = Interleaving(), Ended(), processes()
    taken.add(scripted(composed, "a", 3), ended)
    taken.add(scripted(composed, "blocked", 3, ends_in="begins", status=1), ended)
    taken.add(scripted(composed, "accuracy", 0), ended)
    assert ended.statuses == {"blocked": 1, "accuracy": 0}, "they have no rounds, and take nobody's place"
    taken.add(scripted(composed, "killed", 3, dies_in="round 1"), ended)
    taken.add(scripted(composed, "failed", 2, ends_in="rest", status=1), ended)
    assert steps() == [
        *("a begins", "blocked begins", "accuracy begins", "killed begins", "failed begins"),
        *("a round 0", "killed round 0", "failed round 0", "a round 1", "killed round 1", "failed round 1"),
        *("a round 2", "a rest", "failed rest"),
    ]
    assert ended.statuses == {"blocked": 1, "accuracy": 0, "killed": 1, "a": 0, "failed": 1}
    assert interleaved_with("a") == ["killed", "failed"]
    record = Record.read(Path("sweep/killed/record.json"))
    assert (record.status, record.label) == ("failed", "killed")
    assert (record.reason or "").startswith("its process ended by SIGKILL")
    assert not processes() - before


def test_what_found_too_little_memory_beside_others_is_repeated_alone(
    composed: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    taken, ended = Interleaving(), Ended()
    for name in "abc":
        ends_in = "begins" if name == "b" else None
        taken.add(scripted(composed, name, 1, ends_in=ends_in, status=OUT_OF_MEMORY), ended)
    taken.finish(ended)
    assert steps()[:3] == ["a begins", "b begins", "c begins"]
    assert steps()[-3:] == ["b begins", "b round 0", "b rest"]
    assert ended.statuses == {"a": 0, "c": 0, "b": 0}
    assert interleaved_with("b") == []
    assert capsys.readouterr().err == "b: too much for the memory: again by itself\n"


def test_an_end_of_the_sweep_is_that_of_all_that_have_begun(composed: Job) -> None:
    sweep, before = Sweep(Path("sweep"), jobs=3), processes()

    def interrupted() -> None:
        with sweep.at_work():
            for name in "ab":
                assert sweep.carry_out(scripted(composed, name, 3)) == 0
            assert len(processes() - before) == 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert steps() == ["a begins", "b begins"]
    assert not processes() - before
    assert not Path("results").exists()


def test_the_limit_of_time_stands_still_while_others_have_the_turn(
    composed: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0, passes=0.0)

    def monotonic() -> float:
        clock.now += clock.passes
        return float(clock.now)

    asked = scripted(composed, "a", 3, hangs_in="round 1")
    asked = replace(asked, config={**asked.config, "sweep": {**asked.config["sweep"], "timeout_min": 1}})
    monkeypatch.setattr(process, "time", SimpleNamespace(monotonic=monotonic, time=lambda: 0.0))
    begin_log(asked)
    with JobProcess(asked, environment_of(asked), takes_turns=True) as run:
        assert run.go_on() == "round"
        clock.now += 3600
        assert run.go_on(Turn()) == "round"
        clock.passes = 61
        assert run.go_on(Turn()) is None
        assert run.status() == 1
    reason = Record.read(Path("sweep/a/record.json")).reason or ""
    assert reason.startswith("it was not done within 1 minutes (sweep.timeout_min)")


@pytest.mark.nightly
@pytest.mark.long
def test_two_rows_of_the_embedded_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "COMMAND", child.command("zoo.sweep.job"))
    monkeypatch.setattr(sys, "argv", ["zoo.bench"])
    entries = (ENTRY, "shapes_retinanet_r10_fpn")
    asked = ["device=cpu", "results.dir=results", "measure=[accuracy,speed]", "data.limit=2", "speed.warmup=0"]
    where = ["hydra.sweep.dir=sweep", "sweep.interleave=2"]
    assert bench.main(["--multirun", f"entry={','.join(entries)}", *asked, *where]) == 0
    for number, entry in enumerate(entries):
        record = Record.read(tmp_path / "sweep" / f"{number}_{entry}" / "record.json")
        assert list(record.parts) == ["speed", "accuracy"]
        other = entries[1 - number]
        assert record.measured["timed"]["interleaved_with"] == [f"{other} (data.limit=2)"]  # type: ignore[index]
        assert record.times.seconds is not None
        assert record.times.seconds >= record.times.stages["speed"]
