"""What a sweep costs besides its models: for each image of a run, and for each run.

    python benchmarks/sweep.py

Peers: a bare loop of the same detector over the same images (loader, network, detections in a list), extrapolated to
the 5,000 images of COCO's val2017; its detector is the smallest of the catalogue, which is the worst case. For the cost
of a run nothing at all: processes that end at once. CPU seconds.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _timing import alternate, cpu_seconds

import zoo
from zoo import bench
from zoo.config.build import open_data
from zoo.config.compose import compose
from zoo.config.settings import RunSettings
from zoo.data.batching import PlannedBatch
from zoo.data.loader import ImageDataset, image_loader
from zoo.run.evaluate import detect
from zoo.sweep import process
from zoo.sweep.job import Job, run

ENTRY = "shapes_yolov8_p"
FEW, MANY, WHOLE = 20, 120, 5000
ROUNDS = 3
JOBS = 20
SHARE, PER_RUN = 0.03, 0.12


ENDS_AT_ONCE = """
import datetime, json, sys
folder = json.loads(sys.stdin.readline())["run_dir"]
record = json.load(open(sys.argv[1]))
record["times"]["started"] = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
json.dump(record, open(folder + "/record.json", "w"))
"""
"""A process that leaves the record of another run."""


def job(images: int) -> Job:
    """A run of the accuracy of some images."""
    asked = (f"data.limit={images}", "measure=[accuracy]", "device=cpu", "workers=0", "results.dir=results")
    return Job(config=compose(ENTRY, list(asked)), overrides=asked, run_dir=str(Path("run").absolute()))


def settings(asked: Job) -> RunSettings:
    """What a run makes of its job."""
    return RunSettings.from_config(
        asked.config, overrides=asked.overrides, run_dir=Path(asked.run_dir), default_results=Path("results")
    )


def bare(images: int) -> list[Any]:
    """The detections of some images, and nothing else."""
    asked = settings(job(images))
    detector = zoo.load(ENTRY, device="cpu")
    split = open_data(asked.asked.data, asked.row_classes)
    truth = split.ground_truth
    dataset = ImageDataset(split.files, truth.image_ids.tolist(), truth.sizes, detector.transform)
    batches = [PlannedBatch((index,)) for index in range(images)]
    return [detect(detector, samples, "fp32") for samples in image_loader(dataset, batches, 0)]


def quietly(call: Any, *arguments: Any) -> None:
    """Call something that prints."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        call(*arguments)


def sweep(jobs: int) -> None:
    """A sweep whose processes end at once."""
    seeds = ",".join(map(str, range(jobs)))
    words = ["--multirun", f"entry={ENTRY}", f"seed={seeds}", "results.dir=results", "hydra.sweep.dir=sweep"]
    bench.main(words)


def per_image() -> float:
    """By how much a run of the whole split takes longer than the bare loop."""
    candidates: dict[str, Callable[[], object]] = {
        "run, few": lambda: quietly(run, job(FEW)),
        "run, many": lambda: quietly(run, job(MANY)),
        "loop, few": lambda: quietly(bare, FEW),
        "loop, many": lambda: quietly(bare, MANY),
    }
    seconds = alternate(candidates, ROUNDS)
    whole = {}
    for name in ("run", "loop"):
        each = (seconds[f"{name}, many"] - seconds[f"{name}, few"]) / (MANY - FEW)
        whole[name] = seconds[f"{name}, few"] + each * (WHOLE - FEW)
        print(f"{name:<5} {1000 * each:7.2f} ms an image, {whole[name]:7.2f} s for {WHOLE}")
    return whole["run"] / whole["loop"] - 1


def per_run() -> float:
    """CPU seconds of a run in a sweep besides its process: in the sweep, and to make settings of a job."""
    quietly(run, job(1))
    process.COMMAND = (sys.executable, "-S", "-c", ENDS_AT_ONCE, str(Path("run/record.json").absolute()))
    seconds = alternate(
        {
            "one": lambda: quietly(sweep, 1),
            "many": lambda: quietly(sweep, JOBS + 1),
            "settings": lambda: settings(job(FEW)),
        },
        ROUNDS,
        cpu_seconds,
    )
    return (seconds["many"] - seconds["one"]) / JOBS + seconds["settings"]


def main() -> int:
    """Print both; 1 where one is above its goal."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        sys.argv = ["zoo.bench"]
        share = per_image()
        print(f"harness over bare loop: {100 * share:+.1f} % (goal: at most {100 * SHARE:.0f} %)")
        each = per_run()
        print(f"a run of a sweep besides its process: {each:.3f} CPU s (goal: at most {PER_RUN})")
        os.chdir("/")
    return int(share > SHARE or each > PER_RUN)


if __name__ == "__main__":
    sys.exit(main())
