"""The tests that need a GPU, and the embedded zoo through its front door."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from gpu.lines import Line, Session, check, figure, skipped
from gpu.packages import ROOT

FED = 0.95
"""Least share of the network's own rate that an evaluation reaches."""


def environment() -> dict[str, str]:
    """The environment of a program of this source tree."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }


def bench(session: Session, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m zoo.bench` with arguments."""
    command = [sys.executable, "-m", "zoo.bench", *arguments, f"device={session.device}"]
    return subprocess.run(command, cwd=session.folder, env=environment(), capture_output=True, text=True, check=False)


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """Status and last two lines of a program that failed; all that it said goes to stderr."""
    said = (done.stdout + done.stderr).strip()
    print(said, file=sys.stderr)
    return f"status {done.returncode}: {' / '.join(said.splitlines()[-2:])}"


def gpu_tests(_: Session) -> Iterator[Line]:
    """The tests marked `gpu`."""
    files = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in path.read_text("utf-8")]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    command += ["-W", "default", *map(str, files)]  # other versions than the locked ones warn of other things
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    summary = (done.stdout.strip().splitlines() or [""])[-1]
    if done.returncode == 0 and "passed" not in summary:
        yield skipped("tests marked gpu", summary, "all pass, none skipped")
        return
    ran = "skipped" not in summary
    note = summary if done.returncode == 0 else last_words(done)
    yield check("tests marked gpu", done.returncode == 0 and ran, "all pass, none skipped", note)


def embedded(session: Session) -> Iterator[Line]:
    """A sweep over the embedded zoo: whole split, every published cell."""
    sweep = session.folder / "sweep"
    done = bench(
        session,
        *("--multirun", "entry=glob(shapes_*)", "measure=[accuracy,complexity]", "workers=0"),
        *(f"results.dir={session.folder / 'results'}", f"hydra.sweep.dir={sweep}"),
    )
    yield check("sweep", done.returncode == 0, "exit status 0", "" if done.returncode == 0 else last_words(done))
    for path in sorted(sweep.rglob("record.json")):
        yield _verdicts(path)


def _verdicts(path: Path) -> Line:
    record = json.loads(path.read_text(encoding="utf-8"))
    verdicts = Counter(cell["verdict"] for cell in record["verdict"].values())
    note = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
    measured = record["measured"].get("box_AP")
    note += "" if measured is None else f"; box AP {measured:.3f}"
    return check(record["entry"], set(verdicts) == {"EXACT"}, "every published cell EXACT", note)


def feeding(session: Session) -> Iterator[Line]:
    """The loader against the network: benchmarks/feeding.py, which says the ratio in its last line."""
    images, rounds = ("100", "2") if session.on_gpu else ("20", "1")
    command = [sys.executable, str(ROOT / "benchmarks" / "feeding.py"), "--device", session.device]
    command += ["--images", images, "--rounds", rounds]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    reached = re.search(r"reached ([0-9.]+)$", done.stdout.strip())
    if reached is None:
        yield check("evaluate / network alone", False, "a ratio", last_words(done))
        return
    note = done.stdout.strip().splitlines()[-2]
    yield session.timed(figure("evaluate / network alone, fp32", float(reached[1]), at_least=FED, note=note))
