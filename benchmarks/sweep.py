"""What a sweep costs besides its models: for each image of a run, and for each run.

    python benchmarks/sweep.py

Peers: a bare loop of the same detector over the same images (loader, network, detections in a list), extrapolated to
the 5,000 images of COCO's val2017; its detector is the smallest of the catalogue, which is the worst case. For the cost
of a run a bare Hydra application that sweeps the same configuration and starts the same processes, which end at once:
the CPU seconds that Hydra takes to compose a job are those of both, and are shown beside.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from _timing import alternate, cpu_seconds
from hydra.core.hydra_config import HydraConfig

import zoo
from zoo import bench
from zoo.catalog.entry import conf_dir
from zoo.config.build import open_data
from zoo.config.compose import compose
from zoo.config.run_settings import row_config
from zoo.data.batching import PlannedBatch
from zoo.data.loader import ImageDataset, image_loader
from zoo.run.evaluate import detect
from zoo.sweep import process
from zoo.sweep.job import Job, run

if TYPE_CHECKING:
    from omegaconf import DictConfig

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


def bare(images: int) -> list[Any]:
    """The detections of some images, and nothing else."""
    asked = job(images).settings()
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


def bare_sweep(jobs: int) -> None:
    """The same sweep by Hydra alone."""

    def start(_: DictConfig) -> None:
        asked = Job(config={}, overrides=(), run_dir=HydraConfig.get().runtime.output_dir)
        subprocess.run(process.COMMAND, input=asked.to_json(), text=True, check=True)

    seeds = ",".join(map(str, range(jobs)))
    sys.argv = [sys.argv[0], "--multirun", f"entry={ENTRY}", f"seed={seeds}", "hydra.sweep.dir=bare"]
    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(start)()


def per_run() -> tuple[float, float]:
    """CPU seconds of a run in a sweep besides its process, with the settings of its job: Hydra's, and ours."""
    quietly(run, job(1))
    process.COMMAND = (sys.executable, "-S", "-c", ENDS_AT_ONCE, str(Path("run/record.json").absolute()))
    asked = replace(job(FEW), own=row_config(ENTRY, training=False))
    seconds = alternate(
        {
            "one": lambda: quietly(sweep, 1),
            "many": lambda: quietly(sweep, JOBS + 1),
            "one of Hydra's": lambda: quietly(bare_sweep, 1),
            "many of Hydra's": lambda: quietly(bare_sweep, JOBS + 1),
            "settings": asked.settings,
        },
        ROUNDS,
        cpu_seconds,
    )
    bare = (seconds["many of Hydra's"] - seconds["one of Hydra's"]) / JOBS
    return bare, (seconds["many"] - seconds["one"]) / JOBS + seconds["settings"] - bare


def main() -> int:
    """Print both; 1 where one is above its goal."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        sys.argv = ["zoo.bench"]
        share = per_image()
        print(f"harness over bare loop: {100 * share:+.1f} % (goal: at most {100 * SHARE:.0f} %)")
        bare, each = per_run()
        print(f"a run besides its process: Hydra's {bare:.3f} CPU s, ours {each:.3f} (goal: at most {PER_RUN})")
        os.chdir("/")
    return int(share > SHARE or each > PER_RUN)


if __name__ == "__main__":
    sys.exit(main())
