"""What it costs to launch a run in a process of its own, against the process launcher of optimum-benchmark.

    uv pip install optimum-benchmark     # the peer; in no lock, because nothing else needs it
    python benchmarks/launch.py

Both launch a process that imports what a measurement needs and ends. CPU seconds of both sides of a launch: of the
process, and of whoever waits for it.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _timing import alternate

from zoo.config.compose import compose
from zoo.sweep import process
from zoo.sweep.job import Job

ENTRY = "shapes_yolov8_p"
ROUNDS = 5
TARGET = 2.0
PEER = "optimum_benchmark"


def nothing() -> Any:
    """What the peer launches; a report of nothing."""
    from optimum_benchmark import BenchmarkReport

    return BenchmarkReport.from_list([])


def with_processes(call: Callable[[], object]) -> float:
    """CPU seconds of a call and of the processes that it started."""
    begin = sum(os.times()[:4])
    call()
    for child in multiprocessing.active_children():
        child.join()
    return sum(os.times()[:4]) - begin


def main() -> int:
    """Print the ratio; 1 where it is below the goal."""
    if importlib.util.find_spec(PEER) is None:
        print("not measured: the peer is not installed (uv pip install optimum-benchmark)")
        return 0
    from optimum_benchmark import ProcessConfig
    from optimum_benchmark.launchers.process.launcher import ProcessLauncher

    process.COMMAND = (sys.executable, "-P", "-c", "import sys, zoo.pipeline; sys.stdin.readline()")
    launcher = ProcessLauncher(ProcessConfig())
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        job = Job(config=compose(ENTRY, []), overrides=(), run_dir=str(Path(folder) / "run"))
        seconds = alternate(
            {
                "zoo": lambda: process.run_apart(job),
                PEER: lambda: launcher.launch(worker=nothing, worker_args=[]),
            },
            ROUNDS,
            with_processes,
        )
        os.chdir("/")
    for name, taken in seconds.items():
        print(f"{name:<18} {taken:6.2f} CPU s a launch")
    ratio = seconds[PEER] / seconds["zoo"]
    print(f"{PEER} / zoo: {ratio:.2f} (goal: at least {TARGET})")
    return int(ratio < TARGET)


if __name__ == "__main__":
    sys.exit(main())
