"""Whether the loader is ever the limit: an evaluation's images a second against those of the network alone.

    python benchmarks/feeding.py [--device cuda] [--precision fp32] [--mode eager|graph] [--ms 60] [--images 100]

The network alone: `detect` on images that lie decoded in memory, one after another, from their pixels to detections on
the host. The evaluation: `evaluate` on as many JPEGs, from the file to the metric, with the loader that a run on a GPU
has by default. Both are timed in turn from the end of a first image to the end of the last, so that the start of the
worker processes and the first image of each shape count for neither. Detections must be equal, image by image: on a
CPU to the last bit. On a GPU every kernel that is called gives the same bits each time, save that cuDNN may choose
another convolution where another amount of memory is free: there 98 in 100 must have a partner within 1e-4 of its score
and 0.02 pixels, and it is said how many images are equal to the last bit.

On a GPU the network is Faster R-CNN R-50-FPN, folded, and in half precision channels-last. On a CPU there is a stand-in
whose device works by itself for so many milliseconds an image, as a GPU does, with the same preprocessing and 100
detections.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import cv2
import torch
from torch import Tensor, nn

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests"), str(Path(__file__).resolve().parent)]
from _synthetic_coco import write_set
from image_chain import MEAN, STD, made_up_jpegs

from zoo.data.batching import PlannedBatch
from zoo.data.coco import CocoGroundTruth
from zoo.data.detections import Detections
from zoo.data.loader import ImageDataset, default_workers, image_loader
from zoo.data.preprocess import Preprocess
from zoo.data.size_rules import KeepRatio
from zoo.measure.coco_eval.metric import Accuracy
from zoo.models.detectors.base import Detector
from zoo.models.layers.conv import fold_batch_norm
from zoo.models.layers.normalize import PixelNormalizer
from zoo.models.layers.padding import PadToMultiple
from zoo.run.evaluate import detect, evaluate
from zoo.run.precision import inference_precision
from zoo.runtime.hardware import use_true_float32
from zoo.types import Batch, Sample, Target

TARGET = 0.95
DIFFERENT_JPEGS = 40
DETECTIONS = 100

SCORE, PIXELS, SHARE = 1e-4, 0.02, 0.98
"""On a GPU: how far two detections may be apart that are the same, and the least share of all that have a partner."""


class StandIn(Detector):
    """A detector whose network is a device that works for a while by itself, on one batch after another.

    Args:
        seconds: of work an image.
    """

    def __init__(self, seconds: float) -> None:
        normalizer = PixelNormalizer(MEAN, STD, "rgb", PadToMultiple(32))
        super().__init__(["object"], nn.Identity(), None, Preprocess(KeepRatio(1333, 800)), normalizer)
        self.weight = nn.Parameter(torch.zeros(1))
        self.seconds = seconds
        self.queue = ThreadPoolExecutor(max_workers=1)

    def dense(self, images: Tensor) -> Future[None]:
        """Queue the work on a batch."""
        return self.queue.submit(time.sleep, self.seconds * len(images))

    def postprocess(self, outputs: Future[None], batch: Batch) -> list[Detections]:
        """Wait for it, and find what follows from the pixels."""
        outputs.result()
        found = []
        for image in batch.images:
            corners = image[0, :DETECTIONS, :2].sigmoid() * 200
            boxes = torch.cat((corners, corners + 50), dim=1)
            scores = image[1, :DETECTIONS, 0].sigmoid()
            found.append(Detections(boxes, scores, torch.zeros(DETECTIONS, dtype=torch.int64)))
        return found

    def losses(self, batch: Batch, targets: Sequence[Target]) -> dict[str, Tensor]:
        """It learns nothing."""
        raise NotImplementedError


class Arrivals(Accuracy):
    """The metric of an evaluation, which notes when the detections of each image arrive."""

    def reset(self) -> None:
        """Forget all detections."""
        super().reset()
        self.times: list[float] = []
        self.found: list[Detections] = []

    def update(self, image_ids: Sequence[int], detections: Sequence[Detections]) -> None:
        """Take the detections of some images."""
        super().update(image_ids, detections)
        self.times.append(time.perf_counter())
        self.found.extend(detections)


def faster_rcnn(device: torch.device, precision: str, mode: str) -> Detector:
    """Faster R-CNN R-50-FPN with drawn weights, as `inference_cpu` has it, in the layout that is fast on a GPU."""
    import parity
    from inference_cpu import CASE, ours

    tame = {key: value * 0.1 if "rpn_reg" in key else value for key, value in parity.weights(CASE).items()}
    detector = ours(tame, fast=precision != "fp32")
    fold_batch_norm(detector).to(device)
    if mode == "graph":
        from zoo.run.graphs import use_graphs

        use_graphs(detector)
    return detector


def alone(detector: Detector, samples: Sequence[Sample], precision: str) -> tuple[float, list[Detections]]:
    """Images a second of the network without a loader, and what it finds."""
    times, found = [], []
    with inference_precision(detector, detector.device, precision):
        for sample in samples:
            found += detect(detector, [sample], precision)
            times.append(time.perf_counter())
    return _rate(times), found


def fed(
    detector: Detector, dataset: ImageDataset, truth: CocoGroundTruth, precision: str, workers: int
) -> tuple[float, list[Detections]]:
    """Images a second of an evaluation, and what it finds."""
    metric = Arrivals(truth)
    batches = [PlannedBatch((index,)) for index in range(len(dataset))]
    with closing(image_loader(dataset, batches, workers, device=detector.device)) as samples:
        evaluate(detector, samples, [metric], images=len(dataset), precision=precision)
    return _rate(metric.times), metric.found


def _rate(times: Sequence[float]) -> float:
    return (len(times) - 1) / (times[-1] - times[0])


def same(one: Detections, other: Detections) -> bool:
    """Whether two detectors found the same, to the last bit."""
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("boxes", "scores", "labels"))


def share_of_same(ours: Sequence[Detections], theirs: Sequence[Detections]) -> float:
    """The share of the detections of all images that have a partner in the other's."""
    partners = count = 0
    for one, other in zip(ours, theirs, strict=True):
        near = (one.boxes[:, None] - other.boxes).abs().amax(dim=2) <= PIXELS  # (N, M)
        near &= (one.scores[:, None] - other.scores).abs() <= SCORE
        near &= one.labels[:, None] == other.labels
        partners += int(near.any(dim=1).sum())
        count += max(len(one), len(other))
    return partners / count if count else 1.0


def agree(found: Sequence[Detections], expected: Sequence[Detections], device: torch.device) -> bool:
    """Whether both have found the same, by what their device promises."""
    if len(found) != len(expected):
        return False
    equal = sum(map(same, found, expected))
    if equal == len(found) or device.type == "cpu":
        return equal == len(found)
    share = share_of_same(found, expected)
    print(f"{equal} of {len(found)} images equal to the last bit; {share:.4f} of the detections have a partner")
    return share >= SHARE


def compare(detector: Detector, folder: Path, options: argparse.Namespace) -> int:
    """Time both in turn and print the ratio; 1 where it is below the target or the detections differ."""
    files = made_up_jpegs(folder, DIFFERENT_JPEGS)
    files = [files[i % len(files)] for i in range(options.images)]
    write_set(folder, images=options.images, detections=options.images)
    truth = CocoGroundTruth.load(folder / "annotations.json")
    sizes = [cv2.imread(str(file)).shape[:2] for file in files]  # type: ignore[union-attr]
    dataset = ImageDataset(files, truth.image_ids.tolist(), sizes, detector.transform)
    pinned = detector.device.type == "cuda"
    different = [dataset.sample(i) for i in range(min(options.images, DIFFERENT_JPEGS))]
    different = [sample.pin_memory() if pinned else sample for sample in different]
    samples = [different[i % len(different)] for i in range(options.images)]
    workers = default_workers("cuda")
    alone(detector, different, options.precision)  # every shape is warm
    ratios = []
    for _ in range(options.rounds):
        own, expected = alone(detector, samples, options.precision)
        rate, found = fed(detector, dataset, truth, options.precision, workers)
        if not agree(found, expected, detector.device):
            print("detections differ: no ratio")
            return 1
        ratios.append(rate / own)
        print(f"the network alone {own:7.2f} images/s   evaluate {rate:7.2f}   ratio {ratios[-1]:.3f}")
    ratio = statistics.median(ratios)
    print(f"{workers} worker{'s' if workers > 1 else ''}; target: at least {TARGET}; reached {ratio:.3f}")
    return int(ratio < TARGET)


def main() -> int:
    """Print the ratio of the two rates; 1 where it is below the target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--mode", default="eager", choices=("eager", "graph"))
    parser.add_argument("--ms", type=float, default=60.0, help="an image of the stand-in")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    use_true_float32()
    device = torch.device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    if device.type == "cpu":
        detector: Detector = StandIn(options.ms / 1e3)
    else:
        detector = faster_rcnn(device, options.precision, options.mode)
    with tempfile.TemporaryDirectory() as folder:
        return compare(detector.eval(), Path(folder), options)


if __name__ == "__main__":
    sys.exit(main())
