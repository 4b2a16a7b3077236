"""From a results file on disk to AP: zoo's `score`, its doctor included, against pycocotools, on a made-up val2017.

    python benchmarks/score.py [--images 5000 --detections 500000] [--rounds 3]

Both read the annotations and the detections from JSON. Every run is a fresh single-threaded process, in turn; the time
is CPU seconds without the start of Python and the imports, the median over the rounds. The 12 numbers are compared
first: without agreement there is no ratio.

Exit status: 0 goal reached, 1 goal missed or numbers that differ.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from _synthetic_coco import write_set
from _timing import cpu_seconds, peak_rss_mb

Score: TypeAlias = Callable[[Path, Path], list[float]]
"""Annotations and results to COCO's 12 numbers."""

PROGRAMS = ("zoo", "pycocotools")
GOAL = 15.0
"""Times as fast as pycocotools, at 5,000 images and 500,000 detections."""

LARGEST_DIFFERENCE = 1e-12


def main() -> int:
    """Run the benchmark, or (with --program, as its own child) one program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, help="100 per image where not given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--program", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.program:
        return run_one(args.program, args.folder)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_set(folder, images=args.images, detections=args.detections or 100 * args.images)
        write_results(folder)
        return compare(folder, args.rounds)


def write_results(folder: Path) -> None:
    """The detections of a made-up set as a results file."""
    with np.load(folder / "detections.npz") as arrays:
        columns = {key: arrays[key].tolist() for key in ("image_id", "category_id", "bbox", "score")}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    (folder / "results.json").write_text(json.dumps(rows), encoding="utf-8")


def compare(folder: Path, rounds: int) -> int:
    """Time both in turn, print the figures, and say whether the goal is reached."""
    runs: dict[str, list[dict[str, Any]]] = {program: [] for program in PROGRAMS}
    for _ in range(rounds):
        for program in PROGRAMS:
            runs[program].append(in_fresh_process(program, folder))
    difference = float(np.abs(np.subtract(*(runs[program][0]["stats"] for program in PROGRAMS))).max())
    cpu = {program: statistics.median(run["cpu_s"] for run in runs[program]) for program in PROGRAMS}
    for program in PROGRAMS:
        rss = statistics.median(run["peak_rss_mb"] for run in runs[program])
        print(f"{program:12} {cpu[program]:8.3f} CPU s, peak RSS {rss:.0f} MB, AP {runs[program][0]['stats'][0]:.3f}")
    if difference > LARGEST_DIFFERENCE:
        print(f"FAILED: the numbers differ by up to {difference:.1e}; no ratio is worth printing")
        return 1
    ratio = cpu["pycocotools"] / cpu["zoo"]
    print(f"pycocotools / zoo: {ratio:.1f} (goal: at least {GOAL:g})")
    return 0 if ratio >= GOAL else 1


def in_fresh_process(program: str, folder: Path) -> dict[str, Any]:
    """Run one program: its CPU seconds, peak resident set and numbers."""
    one_thread = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    command = [sys.executable, __file__, "--program", program, "--folder", str(folder)]
    done = subprocess.run(command, env={**os.environ, **one_thread}, stdout=subprocess.PIPE, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def run_one(program: str, folder: Path) -> int:
    """The child's side."""
    paths = folder / "annotations.json", folder / "results.json"
    kept: list[list[float]] = []
    with contextlib.redirect_stdout(io.StringIO()):
        score = by_zoo() if program == "zoo" else by_pycocotools()
        seconds = cpu_seconds(lambda: kept.append(score(*paths)))
    print(json.dumps({"cpu_s": seconds, "peak_rss_mb": peak_rss_mb(), "stats": kept[0]}))
    return 0


def by_zoo() -> Score:
    """zoo's way, imported."""
    from zoo.coco_tasks import TASKS
    from zoo.measure.score.score import score_file

    def score(annotations: Path, results: Path) -> list[float]:
        numbers = score_file(results, annotations).numbers
        return [numbers[f"box_{name}"] / 100 for name in TASKS["bbox"].stats]

    return score


def by_pycocotools() -> Score:
    """The reference's way, imported."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def score(annotations: Path, results: Path) -> list[float]:
        truth = COCO(str(annotations))
        evaluation = COCOeval(truth, truth.loadRes(str(results)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        return [float(value) for value in evaluation.stats]

    return score


if __name__ == "__main__":
    sys.exit(main())
