"""What two versions of the speed protocol say of the same models on this machine, round by round in turn.

    python benchmarks/speed_protocol.py [--entries 'A override ...' B ...] [--device cuda] [--images 50] [--rounds 3]

An entry may have overrides behind it, such as 'mmdet_faster_rcnn_r50_fpn_1x data.root=DIR mode=graph precision=fp16'.

Version 2 is `zoo.measure.speed`. Version 1, whose arithmetic lives here alone, waited for the device around each of
three phases of an image and summed them, after a warm-up of a fixed number of images. On a GPU a host that waits cannot
prepare the work that comes next, so that such a sum is another number than the time of a whole image; on a CPU the two
should agree. A round of each row by each version follows the other, so that a drift of the machine hits all alike;
nothing is judged.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch

import zoo
from zoo.catalog.entry import resolve
from zoo.config.build import open_data, prepare
from zoo.config.compose import compose
from zoo.config.settings import read_settings
from zoo.data.loader import ImageDataset
from zoo.measure.speed import Speed
from zoo.run.precision import inference_precision
from zoo.run.timing import synchronize, timed_samples
from zoo.run.warm_up import warm_up_rule
from zoo.runtime.hardware import fingerprint, resolve_device, use_true_float32
from zoo.runtime.monitor import Monitor
from zoo.types import Sample

ENTRIES = ("shapes_retinanet_r10_fpn", "shapes_yolov8_p")

T = TypeVar("T")


@dataclass(slots=True)
class Candidate:
    """A row, timed by both versions.

    Attributes:
        name: entry, with what is overridden.
        speed: version 2.
        rounds: frames a second of each round by version 1.
    """

    name: str
    speed: Speed
    rounds: list[float] = field(default_factory=list)

    def take_round(self) -> None:
        """One pass over all images by each version."""
        detector, images = self.speed.detector, self.speed.samples
        with inference_precision(detector, detector.device, self.speed.precision):
            self.rounds.append(len(images) / sum(self._version_1(sample) for sample in images))
        self.speed.take_round()

    @torch.inference_mode()
    def _version_1(self, sample: Sample) -> float:
        """Seconds of an image: three phases, each between two synchronisations."""
        detector = self.speed.detector
        pre, batch = timed(detector.device, lambda: detector.prepare([sample]))
        model, outputs = timed(detector.device, lambda: detector.network(batch))
        post, _ = timed(detector.device, lambda: detector.postprocess(outputs, batch))
        return pre + model + post


def timed(device: torch.device, work: Callable[[], T]) -> tuple[float, T]:
    """Seconds between a synchronised start and a synchronised end, and what the work gave."""
    synchronize(device)
    start = time.perf_counter()
    result = work()
    synchronize(device)
    return time.perf_counter() - start, result


def candidate(text: str, device: torch.device, images: int | str) -> Candidate:
    """A row with its published weights, as its protocol and the overrides lay it out, and its first images."""
    name, *overrides = text.split()
    entry = resolve(name)[0]
    config = compose(entry, overrides)
    asked = read_settings(config)
    detector = prepare(zoo.load(entry, device=str(device)), config["protocol"], asked.mode)
    split = open_data(asked.data, detector.classes)
    truth = split.ground_truth
    dataset = ImageDataset(split.files, truth.image_ids.tolist(), truth.sizes, detector.transform)
    precision = "fp32" if asked.precision == "auto" else asked.precision
    speed = Speed(detector, timed_samples(dataset, device, images), precision, Monitor(device))
    return Candidate(" ".join((entry, *overrides)), speed)


def line(found: Candidate) -> dict[str, str]:
    """What both versions say of a row."""
    result, first = found.speed.result(), statistics.median(found.rounds)
    latency, phases = result.latency_ms, result.phases_ms
    told = {"p50 ms": latency.p50, "p95 ms": latency.p95, "p99 ms": latency.p99}
    return {
        "entry": found.name,
        "fps, version 1": f"{first:.2f}",
        "fps, version 2": f"{result.fps:.2f}",
        "2 / 1": f"{result.fps / first:.3f}",
        **{name: "-" if value is None else f"{value:.2f}" for name, value in told.items()},
        "pre / model / post ms": f"{phases.pre:.2f} / {phases.model:.2f} / {phases.post:.2f}",
        "note": result.timed.note or "",
    }


def main() -> int:
    """Print a line for each row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", nargs="+", default=ENTRIES)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=0, help="images of a round; 0: as a run takes them")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    use_true_float32()
    device = resolve_device(options.device)
    rows = [candidate(text, device, options.images or "auto") for text in options.entries]
    for row in rows:
        row.speed.warm_up(warm_up_rule(device.type, "auto"))
    for _ in range(options.rounds):
        for row in rows:
            row.take_round()
    for row in rows:
        row.speed.take_phases()
    from tabulate import tabulate

    images = len(rows[0].speed.samples)
    print(f"{fingerprint(device).device}: {options.rounds} rounds of {images} images, the rows in turn")
    print(tabulate([line(row) for row in rows], headers="keys", disable_numparse=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
