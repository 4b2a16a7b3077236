"""Everything that needs a GPU, in under eight minutes on one card.

    python scripts/gpu_check.py [--only STEP,STEP] [--json FILE] [--markdown FILE] [--parity DIR] [--device cpu]

Runs from a plain source tree, without installation or network. Its first line names all missing packages; steps that
need one are skipped by name. Exit status 0: every step ran and reached its goals; 1: something failed or was skipped.
Steps that take times run one by one, the others a few at once. The files are written as lines are found.
On a CPU (`--device cpu`) times are taken once and not judged, and what needs a GPU is skipped.
"""

from __future__ import annotations

import argparse
import functools
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gpu.lines import Session, Step
from gpu.packages import ROOT, missing
from gpu.report import Report, machine
from gpu.runner import run_step
from gpu.steps import STEPS

LIMIT_S = 470.0
"""Seconds of the whole check."""

AT_ONCE = 3
"""Steps that run at once on a GPU where they take no times: each has a core or two to itself, and most wait for one."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the steps; returns the exit status."""
    options = _options(arguments)
    sys.path.insert(0, str(ROOT))  # this tree, whatever is installed
    steps = [step for step in STEPS if not options.only or step.name in options.only]
    absent = missing(name for step in STEPS for name in step.needs)
    print(f"missing packages: {', '.join(absent) or 'none'}", flush=True)
    if "torch" not in absent and options.device != "cpu" and not _has_gpu():
        print("no GPU that PyTorch can use; --device cpu runs what a CPU can show", flush=True)
        return 1
    report = Report(machine(options.device), [step.name for step in steps], options.json, options.markdown)
    deadline, stop = time.monotonic() + LIMIT_S, threading.Event()
    with tempfile.TemporaryDirectory(prefix="zoo-gpu-") as folder:
        session = Session(options.device, Path(folder), options.parity)
        run = functools.partial(_run, session=session, absent=absent, report=report, deadline=deadline, stop=stop)
        with ThreadPoolExecutor(AT_ONCE if session.on_gpu else 1) as threads:
            try:
                for step in steps:
                    if step.timed:
                        run(step)
                for _ in threads.map(run, [step for step in steps if not step.timed]):
                    pass
            finally:
                stop.set()  # of steps that still run when the check is interrupted
                threads.shutdown(cancel_futures=True)
    print(f"\n{report}", flush=True)
    return int(not report.ended_well)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--only", type=_names, help=f"steps: {', '.join(step.name for step in STEPS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything, for programs")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the table of the end")
    parser.add_argument("--parity", type=Path, metavar="DIR", help="whole parity cases and their images")
    return parser.parse_args(arguments)


def _names(text: str) -> list[str]:
    known = [step.name for step in STEPS]
    for name in text.split(","):
        if name not in known:
            raise argparse.ArgumentTypeError(f"no step {name!r}; choose from {', '.join(known)}")
    return text.split(",")


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _run(
    step: Step, *, session: Session, absent: list[str], report: Report, deadline: float, stop: threading.Event
) -> None:
    begin = time.monotonic()
    report.begin(step.name, step.goal)
    for line in run_step(step, session, absent, deadline - begin, stop):
        report.add(step.name, line)
    if not stop.is_set():
        report.end(step.name, time.monotonic() - begin)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that steps are ended with the check
    sys.exit(main())
