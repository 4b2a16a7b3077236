"""A sweep that is killed at any moment and repeated: nothing is torn, nothing is lost, nothing is done twice."""

from __future__ import annotations

import csv
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from zoo import bench

ENTRIES = ("shapes_yolov8_p", "shapes_retinanet_r10_fpn")
SETTINGS = (
    *("device=cpu", "resume=true", "results.dir=results"),
    *("speed.warmup=0", "speed.images=1"),
)
SWEEP = ("--multirun", f"entry={','.join(ENTRIES)}", "hydra.sweep.dir=sweep", *SETTINGS)
KILLS = 50

VICTIMS = ("sweep", "job", "both")
"""Who is killed: the sweep by a user, its job for want of memory, both by a cut of the current."""

OF_THE_RUN = {"finished", "seconds", "started", "stages", "times", "hardware", "code", "memory", "root"}
OF_SPEED = {"fps", "fps_rounds", "latency_ms", "phases_ms"}
"""Keys of a record that are another time's, or the clock's."""


@dataclass
class Killed:
    """A sweep that was killed again and again.

    Attributes:
        folder: where it runs.
        overrides: what it is told besides.
        expected: what its records hold at last.
        kills: how often it was killed.
        ends: how often it came to its end.
        redone: records that were there before, and were made once more.
        torn: files that could not be read after a kill.
    """

    folder: Path
    overrides: Sequence[str]
    expected: dict[str, Any] = field(default_factory=dict)
    kills: int = 0
    ends: int = 0
    redone: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)

    def start(self) -> subprocess.Popen[bytes]:
        """The same command every time."""
        with (self.folder / "output.txt").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "zoo.bench", *SWEEP, *self.overrides],
                cwd=self.folder,
                stdout=output,
                stderr=output,
            )

    def until_killed(self, seconds: float, victims: str) -> None:
        """Run it for some seconds and kill it; where it ends before, look at what it made, and begin anew."""
        before, process = self.records(), self.start()
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            self.check_end(process, before)
            self.begin_anew()
            return
        self.kill(process, victims, before)

    def begin_anew(self) -> None:
        """Forget everything."""
        for name in ("results", "sweep", "cache"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def until_killed_in_job(self, job: int, seconds: float, victims: str) -> None:
        """Run it until one of its jobs has been at work for some seconds, or has ended, and kill it."""
        before, process = self.records(), self.start()
        log = self.folder / "sweep" / f"{job}_{ENTRIES[job]}" / "log.txt"
        begun = time.time()
        while not (log.is_file() and log.stat().st_mtime > begun) and process.poll() is None:
            time.sleep(0.05)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        self.kill(process, victims, before)

    def kill(self, process: subprocess.Popen[bytes], victims: str, before: dict[Path, bytes]) -> None:
        """Kill it, and look at what it leaves."""
        with suppress(psutil.NoSuchProcess):
            sweep = psutil.Process(process.pid)
            jobs = sweep.children(recursive=True)
            for victim in {"sweep": [sweep], "job": jobs, "both": [sweep, *jobs]}[victims]:
                with suppress(psutil.NoSuchProcess):
                    victim.send_signal(signal.SIGKILL)
        process.wait()  # one whose job is dead goes on
        self.kills += 1
        self.look(before)

    def until_the_end(self) -> None:
        """Run it to its end, and look at what it made."""
        before, process = self.records(), self.start()
        process.wait()
        self.check_end(process, before)

    def check_end(self, process: subprocess.Popen[bytes], before: dict[Path, bytes]) -> None:
        self.ends += 1
        output = (self.folder / "output.txt").read_text(encoding="utf-8")
        assert process.returncode == 0, output[-3000:]
        self.look(before)
        self.check_records()

    def check_records(self) -> None:
        """All that was measured is what it was the first time, and nothing else is left."""
        found = {str(path): settled(json.loads(text)) for path, text in self.records().items()}
        self.expected = self.expected or found
        assert found == self.expected
        assert len(found) == len(ENTRIES)
        assert [path.name for path in (self.folder / "results").rglob("*.part")] == [], "no rest of a file"
        assert list((self.folder / "results").rglob("*failed*")) == [], "no attempt before the one that counts"

    def look(self, before: dict[Path, bytes]) -> None:
        """Note what is torn, and what was done though it had been done."""
        for place in ("results", "sweep"):
            for path in (self.folder / place).rglob("*.json"):
                try:
                    json.loads(path.read_bytes())
                except ValueError:
                    self.torn.append(str(path.relative_to(self.folder)))
        after = self.records()
        self.redone += [str(path) for path, text in before.items() if after.get(path) != text]

    def records(self) -> dict[Path, bytes]:
        """What was measured, by its place in the results."""
        root = self.folder / "results"
        paths = [path for path in root.rglob("*.json") if "tables" not in path.parts and "+failed" not in path.name]
        return {path.relative_to(root): path.read_bytes() for path in paths}


def settled(value: Any) -> Any:
    """A record without what is another at any other time."""
    if isinstance(value, dict):
        return {key: settled(item) for key, item in value.items() if key not in OF_THE_RUN | OF_SPEED}
    return value


@pytest.mark.long
def test_three_kills(few_shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep, generator = Killed(tmp_path, [f"data.root={few_shapes}", "measure=[accuracy,complexity]"]), random.Random(3)
    for number, victims in enumerate(generator.sample(VICTIMS, 3)):
        sweep.until_killed_in_job(number % 2, generator.uniform(0.0, 3.0), victims)
    sweep.until_the_end()
    assert (sweep.kills, sweep.torn, sweep.redone) == (3, [], [])
    monkeypatch.chdir(tmp_path)
    for name in ("results", "sweep"):
        shutil.move(name, f"killed-{name}")
    for entry in ENTRIES:  # as if nothing had ever been killed
        bench.main([f"entry={entry}", *SETTINGS, *sweep.overrides, "hydra.run.dir=run"])
    sweep.check_records()


@pytest.mark.nightly
def test_fifty_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole rows, whose tables are compared too; the cache of the data set is filled anew after each end."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    sweep, generator = Killed(tmp_path, ["workers=0"]), random.Random(0)
    started = time.monotonic()
    sweep.until_the_end()
    seconds = time.monotonic() - started
    table = tables(tmp_path)
    sweep.begin_anew()
    while sweep.kills < KILLS:
        sweep.until_killed(generator.uniform(0.0, seconds), generator.choice(VICTIMS))
    sweep.until_the_end()
    print(f"{sweep.kills} kills, {sweep.ends} ends, torn: {sweep.torn}, redone: {sweep.redone}")
    assert (sweep.torn, sweep.redone) == ([], [])
    assert tables(tmp_path) == table


def tables(folder: Path) -> list[dict[str, str]]:
    """The rows of the machine's table, without what is the clock's."""
    command = [sys.executable, "-m", "zoo", "table", "--results-dir", "results"]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    (path,) = (folder / "results" / "tables").glob("*/cpu-*.csv")
    rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    clock = ("fps", "latency", "memory_gb")
    return [{key: text for key, text in row.items() if not (key.startswith(clock) or "_date" in key)} for row in rows]
