"""COCO evaluation: zoo's columns against pycocotools and its fast successors, on a made-up val2017.

    python benchmarks/coco_eval.py [--images 5000 --detections 500000] [--iou-type bbox|segm|keypoints] [--rounds 3]

The ground truth is loaded and the detections are in memory, in the form that suits each evaluator best, before the
clock starts; it stops when the numbers are there. Every run is a fresh single-threaded process, the evaluators in
turn, so that its peak memory is its own. The time is CPU seconds, the median over the rounds. Results are compared
before anything else is said: without agreement there is no ratio.

Exit status: 0 goals reached, 1 a goal missed or results that differ.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from _synthetic_coco import write_set
from _timing import cpu_seconds, peak_rss_mb
from tabulate import tabulate

from zoo.coco_tasks import TASKS, IouType

ARRAYS = ("precision", "recall", "scores", "stats")
Result = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Evaluator:
    """A peer: the modules of its COCO and COCOeval, and the form in which it takes boxes (others: list of dicts)."""

    package: str
    coco: str
    coco_eval: str
    takes: str


PEERS = {
    "pycocotools": Evaluator("pycocotools", "pycocotools.coco", "pycocotools.cocoeval", "list of dicts"),
    "faster-coco-eval": Evaluator("faster_coco_eval", "faster_coco_eval", "faster_coco_eval", "list of dicts"),
    "hotcoco": Evaluator("hotcoco", "hotcoco", "hotcoco", "array"),
    "ultrafast-pycocotools": Evaluator(
        "ultrafast_pycocotools", "ultrafast_pycocotools.coco", "ultrafast_pycocotools.cocoeval", "array"
    ),
}
REFERENCE = "pycocotools"
LARGEST_DIFFERENCE = 1e-12
"""Up to here two evaluators agree: faster-coco-eval leaves the last bit of some quotients to chance."""


def goals(images: int, detections: int, iou_type: str) -> tuple[float, float | None]:
    """How many times as fast as pycocotools zoo has to be, and the share of its memory it may take at most.

    The ratio grows with the size of the set, so each scale has its own; memory counts at the full scale.
    """
    if iou_type == "keypoints":
        return (50.0, 0.35) if images >= 5000 and detections >= 100_000 else (30.0, None)
    if iou_type == "segm":
        return (13.0, 0.35) if images >= 5000 and detections >= 100_000 else (6.0, None)
    if images >= 5000 and detections >= 500_000:
        return 80.0, 0.12
    return (30.0, None) if images >= 500 and detections >= 50_000 else (10.0, None)


def main() -> int:
    """Run the benchmark, or (with --evaluator, as its own child) one evaluator."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, help="per image 100 boxes where not given, or 20 others")
    parser.add_argument("--iou-type", choices=("bbox", "segm", "keypoints"), default="bbox", help="what is compared")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--evaluator", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.evaluator:
        return run_one(args.evaluator, args.folder, args.iou_type)
    detections = args.detections or args.images * (100 if args.iou_type == "bbox" else 20)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_set(folder, images=args.images, detections=detections, iou_type=args.iou_type)
        return compare(folder, args.iou_type, args.rounds, goals(args.images, detections, args.iou_type))


def compare(folder: Path, iou_type: str, rounds: int, goal: tuple[float, float | None]) -> int:
    """Time all evaluators in turn, print the table, and say whether the goals are reached."""
    missing = [name for name, peer in PEERS.items() if importlib.util.find_spec(peer.package) is None]
    present = ["zoo", *(name for name in PEERS if name not in missing)]
    if REFERENCE in missing:
        sys.exit(f"{REFERENCE} is not installed, and without it there is nothing to compare with")
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in present}
    for _ in range(rounds):
        for name in present:
            runs[name].append(in_fresh_process(name, folder, iou_type))
    cpu = {name: statistics.median(run["cpu_s"] for run in runs[name]) for name in present}
    rss = {name: statistics.median(run["peak_rss_mb"] for run in runs[name]) for name in present}
    reference = load_result(folder, REFERENCE)
    differences = {name: largest_difference(load_result(folder, name), reference) for name in present}
    takes = {name: peer.takes if iou_type == "bbox" else "list of dicts" for name, peer in PEERS.items()}
    takes["zoo"] = "columns"
    rows = []
    for name in present:
        agrees = differences[name] <= LARGEST_DIFFERENCE
        ratio = f"{cpu[REFERENCE] / cpu[name]:.1f}" if agrees else "refused"
        agreement = "bit-equal" if differences[name] == 0 else f"max difference {differences[name]:.1e}"
        agreement = "other shapes" if differences[name] == float("inf") else agreement
        rows.append([name, takes[name], f"{cpu[name]:.3f}", ratio, f"{rss[name]:.0f}", agreement])
    rows += [[name, takes[name], "missing", "", "", ""] for name in missing]
    headers = ["evaluator", "detections as", "CPU s", f"x {REFERENCE}", "peak RSS MB", f"arrays vs {REFERENCE}"]
    print(f"{iou_type}, {describe(folder)}; median of {rounds} rounds; AP {reference['stats'][0]:.3f}\n")
    print(tabulate(rows, headers, disable_numparse=True, colalign=("left", "left", "right", "right", "right", "left")))
    leanest = min((name for name in present if name != "zoo"), key=rss.__getitem__)
    print(f"\nleast memory of the others: {leanest}, {rss[leanest]:.0f} MB; zoo / it = {rss['zoo'] / rss[leanest]:.2f}")
    return verdict(differences["zoo"], cpu[REFERENCE] / cpu["zoo"], rss["zoo"] / rss[REFERENCE], goal)


def verdict(difference: float, ratio: float, memory: float, goal: tuple[float, float | None]) -> int:
    """Print what was to be reached and what was; 0 if all of it."""
    if difference:
        print(f"\nFAILED: zoo differs from {REFERENCE} by up to {difference:.1e}; no ratio is worth printing")
        return 1
    fastest, most_memory = goal
    good = ratio >= fastest
    print(f"\n{REFERENCE} / zoo: {ratio:.1f} (goal: at least {fastest:g})")
    if most_memory is not None:
        good &= memory <= most_memory
        print(f"peak RSS zoo / {REFERENCE}: {memory:.3f} (goal: at most {most_memory:g})")
    print("goals reached" if good else "FAILED: a goal is missed")
    return 0 if good else 1


def in_fresh_process(name: str, folder: Path, iou_type: str) -> dict[str, float]:
    """Run one evaluator: its CPU seconds and peak resident set. Its result goes to the folder."""
    command = [sys.executable, __file__, "--evaluator", name, "--folder", str(folder), "--iou-type", iou_type]
    one_thread = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "RAYON")}
    done = subprocess.run(
        command,
        env={**os.environ, **one_thread},
        stdout=subprocess.PIPE,
        check=True,
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def run_one(name: str, folder: Path, iou_type: IouType) -> int:
    """The child's side: prepare, time, and leave the arrays in the folder."""
    kept: list[Result] = []
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = zoo_evaluation(folder, iou_type) if name == "zoo" else peer_evaluation(name, folder, iou_type)
        seconds = cpu_seconds(lambda: kept.append(evaluation()))
    figures = {"cpu_s": seconds, "peak_rss_mb": peak_rss_mb()}
    np.savez(folder / f"{name}.npz", **kept[0])  # type: ignore[arg-type]  # the stubs take keywords for allow_pickle
    print(json.dumps(figures))
    return 0


def zoo_evaluation(folder: Path, iou_type: IouType) -> Callable[[], Result]:
    """zoo's evaluation, ready to run."""
    from zoo.data.coco import CocoGroundTruth
    from zoo.measure.coco_eval.columns import DetectionColumns
    from zoo.measure.coco_eval.evaluate import evaluate

    ground_truth = CocoGroundTruth.load(folder / "annotations.json")
    detections = DetectionColumns(**load_detections(folder), segmentation=load_masks(folder, iou_type))

    def run() -> Result:
        result = evaluate(ground_truth, detections, iou_type=iou_type)
        return {name: getattr(result, name) for name in ARRAYS}

    return run


def peer_evaluation(name: str, folder: Path, iou_type: IouType) -> Callable[[], Result]:
    """Another evaluator's, by the interface that pycocotools set and all of them keep."""
    peer = PEERS[name]
    coco = importlib.import_module(peer.coco).COCO
    module = importlib.import_module(peer.coco_eval)
    coco_eval = getattr(module, "COCOeval_faster", None) or module.COCOeval
    ground_truth = coco(str(folder / "annotations.json"))
    columns = load_detections(folder)
    masks = load_masks(folder, iou_type)
    results: Any
    if peer.takes == "array" and iou_type == "bbox":
        order = ("image_id", "bbox", "score", "category_id")
        parts = [columns[key].reshape(len(columns[key]), -1) for key in order]
        results = np.concatenate(parts, axis=1).astype(np.float64)  # (D, 7)
    else:
        # Masks and keypoints come without boxes: COCO takes a detection's size from its box if it has one.
        fields: dict[str, list[Any]] = {key: columns[key].tolist() for key in ("image_id", "category_id", "score")}
        if masks is not None:
            fields["segmentation"] = masks
        elif iou_type == "keypoints":
            fields["keypoints"] = columns["keypoints"].reshape(len(columns["score"]), -1).tolist()
        else:
            fields["bbox"] = columns["bbox"].tolist()
        results = [dict(zip(fields, row, strict=True)) for row in zip(*fields.values(), strict=True)]

    def run() -> Result:
        evaluation = coco_eval(ground_truth, ground_truth.loadRes(results), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        arrays = {key: np.asarray(evaluation.eval[key]) for key in ARRAYS[:3]}
        return {**arrays, "stats": np.asarray(evaluation.stats)[: len(TASKS[iou_type].stats)]}

    return run


def load_detections(folder: Path) -> dict[str, npt.NDArray[Any]]:
    """Columns image_id, category_id, score (D,), bbox (D, 4), and where there are any keypoints (D, 17, 3)."""
    with np.load(folder / "detections.npz") as columns:
        return dict(columns)


def load_masks(folder: Path, iou_type: str) -> list[Any] | None:
    """D run-length encodings, or None for what is no mask."""
    return json.loads((folder / "masks.json").read_text(encoding="utf-8")) if iou_type == "segm" else None


def load_result(folder: Path, name: str) -> Result:
    """The arrays that an evaluator left."""
    with np.load(folder / f"{name}.npz") as arrays:
        return dict(arrays)


def largest_difference(mine: Result, reference: Result) -> float:
    """Over all arrays; infinite where a shape differs."""
    if any(mine[name].shape != reference[name].shape for name in ARRAYS):
        return float("inf")
    return max(float(np.abs(mine[name] - reference[name]).max()) for name in ARRAYS)


def describe(folder: Path) -> str:
    """The size of the set in words."""
    from zoo.data.coco import CocoGroundTruth

    ground_truth = CocoGroundTruth.load(folder / "annotations.json")
    objects, crowds = len(ground_truth.areas), int(ground_truth.is_crowd.sum())
    detections = len(load_detections(folder)["score"])
    return f"{len(ground_truth)} images, {objects} annotations ({crowds} crowds), {detections} detections"


if __name__ == "__main__":
    sys.exit(main())
