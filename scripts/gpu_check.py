"""Everything that needs a GPU, in under eight minutes on one card.

    python scripts/gpu_check.py [--only STEP,STEP] [--json FILE] [--markdown FILE] [--parity DIR] [--device cpu]

Runs from a plain source tree, without installation or network. Its first line names all missing packages; steps that
need one are skipped by name. Exit status 0: every step ran and reached its goals; 1: something failed or was skipped.
On a CPU (`--device cpu`) times are taken once and not judged, and what needs a GPU is skipped.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from gpu.lines import Line, Session, Step
from gpu.packages import ROOT, missing
from gpu.report import as_json, as_markdown, machine, summary
from gpu.runner import run_step
from gpu.steps import STEPS

LIMIT_S = 470.0
"""Seconds of the whole check."""


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
    found: dict[str, list[Line]] = {}
    seconds: dict[str, float] = {}
    deadline = time.monotonic() + LIMIT_S
    with tempfile.TemporaryDirectory(prefix="zoo-gpu-") as folder:
        session = Session(options.device, Path(folder), options.parity)
        for step in steps:
            begin = time.monotonic()
            found[step.name] = _run(step, session, absent, deadline - begin)
            seconds[step.name] = time.monotonic() - begin
    about = machine(options.device)
    if options.json:
        options.json.write_text(as_json(about, found, seconds), encoding="utf-8")
    table = as_markdown(about, found, seconds)
    if options.markdown:
        options.markdown.write_text(table, encoding="utf-8")
    print(f"\n{table}\n{summary(found)}", flush=True)
    return int(any(line.status in ("FAIL", "SKIP") for lines in found.values() for line in lines))


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


def _run(step: Step, session: Session, absent: list[str], seconds_left: float) -> list[Line]:
    print(f"== {step.name}: {step.goal}", flush=True)
    lines = []
    for line in run_step(step, session, absent, seconds_left):
        print(f"   {line}", flush=True)
        lines.append(line)
    return lines


if __name__ == "__main__":
    sys.exit(main())
