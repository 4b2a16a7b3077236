"""The conductor: the whole run of one entry, in order. The only module that knows the order."""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import json
import os
import random
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.checkpoints.obtain import described, location, obtain
from zoo.config.compose import build_batching, build_model, load_detector
from zoo.config.settings import CARRYING_OUT, DataSettings, RunSettings, SplitSettings, TrainSettings
from zoo.data.batching import PlannedBatch, describe
from zoo.data.coco import CocoGroundTruth
from zoo.data.dataset import Source, provide
from zoo.data.loader import ImageDataset, image_loader
from zoo.errors import DataError, UsageError, ZooError
from zoo.files import write_atomically
from zoo.measure.accuracy import Accuracy, Rounding
from zoo.measure.coco_eval.evaluate import IouType
from zoo.measure.complexity import complexity
from zoo.measure.memory import Memory
from zoo.measure.onnx import onnx_latency
from zoo.measure.onnx_export import OnnxDetector, export_network, exportable
from zoo.measure.speed import Speed
from zoo.measure.train_memory import measure_train_memory, rehearsed_recipe
from zoo.models.detectors.base import Detector
from zoo.models.detectors.yolo import YoloDetector
from zoo.models.layers.conv import fold_batch_norm
from zoo.results.record import Ledger, Record
from zoo.results.seeds import seed_ledger, with_seeds
from zoo.results.verdict import judge
from zoo.run.evaluate import evaluate
from zoo.run.timing import time_phases
from zoo.runtime.distributed import Processes, first_process, joined, local_device
from zoo.runtime.hardware import fingerprint, resolve_device, use_true_float32
from zoo.runtime.provenance import code_state
from zoo.train.initial import Beginning
from zoo.train.training import WEIGHTS, train
from zoo.types import Metric, Sample

ONNX_FILE = "model.onnx"
"""The exported network, in a run's folder."""


def run(settings: RunSettings) -> Record:
    """Measure one entry and leave its record, whatever happens.

    Returns:
        The record, also written to the run's folder and filed under the results folder. Its status
        says whether the entry was measured, blocked or failed.

    Raises:
        ZooError: the record itself could not be written.
        KeyboardInterrupt: after the record of the interrupted run was written.
    """
    record = _begin(settings)
    started = time.perf_counter()
    try:
        _measure(settings, record)
        record.status = "measured"
    except ZooError as error:
        record.status, record.reason, record.next_step = error.status, error.message, error.next_step
    except torch.OutOfMemoryError as error:
        record.reason, record.next_step = str(error).split(". ")[0], "use a smaller batch_size, or device=cpu"
    except KeyboardInterrupt:
        record.reason, record.next_step = "interrupted", "run the same command again"
        raise
    except Exception as error:  # whatever else: a record with the reason, and the traceback in a file of its own
        settings.run_dir.mkdir(parents=True, exist_ok=True)
        report = settings.run_dir / "traceback.txt"
        report.write_text(traceback.format_exc(), encoding="utf-8")
        record.reason = f"unexpected {type(error).__name__}: {error}"
        record.next_step = f"report this with {report}"
    finally:
        record.times |= {"finished": _now(), "seconds": round(time.perf_counter() - started, 3)}
        _leave(settings, record)
    return record


def _measure(settings: RunSettings, record: Record) -> None:
    """Every stage in order; each adds its part to the record as soon as it is known."""
    _seed(settings.seed)
    use_true_float32()
    device = local_device(resolve_device(settings.device))
    record.hardware = fingerprint(device)
    rehearsed = rehearsed_recipe(settings, device, record)
    with joined(device) as processes:
        with _stage(record, "checkpoint"):
            weights = _weights(settings, record)
        with _stage(record, "data"):
            ground_truth, dataset_images = _open_data(settings.data, settings.classes, record)
        with _stage(record, "model"):
            detector = _build(settings, weights, record).to(device)
            to_export = exportable(detector) if "onnx_latency" in settings.measure else None
        dataset = ImageDataset(dataset_images, ground_truth.image_ids.tolist(), detector.transform)
        batches = _plan(settings, detector, ground_truth, record)
        evaluation = functools.partial(_accuracy, settings, detector, dataset, ground_truth, batches, processes)
        if settings.train is not None:
            with _stage(record, "training"):
                _train(settings, settings.train, detector, weights, evaluation, processes, record)
        twin = copy.deepcopy(detector).cpu() if rehearsed is not None else None
        _prepare(detector, settings)
        memory = Memory(device)
        memory.reset()
        if "accuracy" in settings.measure:
            with _stage(record, "accuracy"):
                record.measured |= evaluation()
    if not processes.first:
        return
    if "speed" in settings.measure or ("memory" in settings.measure and "accuracy" not in settings.measure):
        with _stage(record, "speed"):
            speed = _speed(settings, detector, dataset)
            record.measured |= speed if "speed" in settings.measure else {}
    if "memory" in settings.measure:
        record.measured |= memory.result()
    if "complexity" in settings.measure:
        with _stage(record, "complexity"):
            record.measured |= complexity(detector, **settings.parts["protocol"].get("complexity", {}))
    if to_export is not None:
        with _stage(record, "onnx_latency"):
            record.measured |= _onnx_latency(settings, to_export.cpu(), dataset)
    if rehearsed is not None and twin is not None:
        detector.cpu()  # what is measured next has the device to itself
        with _stage(record, "train_memory"):
            workers = _workers(settings, device)
            measure_train_memory(settings, rehearsed, twin.to(device), ground_truth, dataset.files, workers, record)


def _weights(settings: RunSettings, record: Record) -> Path | Beginning:
    """The file of the weights to evaluate or to begin with; of a recipe's training what that begins with."""
    own = settings.checkpoint_path or settings.checkpoint_url
    if settings.train is not None and own is None:
        return Beginning(settings, settings.train)
    stored = obtain(
        settings.entry.checkpoint, settings.results_dir, path=settings.checkpoint_path, url=settings.checkpoint_url
    )
    record.checkpoint = described(stored)
    return stored.path


def _build(settings: RunSettings, weights: Path | Beginning, record: Record) -> Detector:
    """The detector in eval mode, on the CPU."""
    if isinstance(weights, Beginning):
        detector = build_model(settings.parts, settings.classes).eval()
        weights.load(detector)
        return detector
    detector, report = load_detector(settings.parts, settings.entry, settings.classes, weights)
    record.checkpoint["load_report"] = report.to_json()
    return detector


def _train(
    settings: RunSettings,
    options: TrainSettings,
    detector: Detector,
    weights: Path | Beginning,
    evaluation: Callable[[], dict[str, Any]],
    processes: Processes,
    record: Record,
) -> None:
    """Train the detector; its checkpoint in the record is then the one that was made here."""
    split = settings.data.train
    if split is None:
        message = f"{settings.data.name} has no training split"
        raise UsageError(message, next_step="choose another data set with data=NAME, or run=evaluate")
    truth, files, _ = _open_split(settings.data, split, settings.classes)
    evaluations: dict[int, dict[str, Any]] = {}

    def between_epochs(epoch: int) -> None:
        evaluations[epoch] = evaluation()
        if processes.first:
            write_atomically(settings.run_dir / "evaluations.json", json.dumps(evaluations, indent=1) + "\n")

    record.protocol["training"] = train(
        settings,
        options,
        detector,
        truth,
        files,
        begun_with=weights.told if isinstance(weights, Beginning) else record.checkpoint,
        workers=_workers(settings, detector.device),
        processes=processes,
        evaluate=between_epochs,
    )
    if processes.first:
        path = settings.run_dir / WEIGHTS
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
        made = {"url": None, "path": location(path), "sha256": sha256, "size": size, "hash_evidence": "none"}
        record.checkpoint = made


def _begin(settings: RunSettings) -> Record:
    """A record of what was asked for. A changed composition does not bear the entry's name."""
    entry = settings.entry
    protocol = settings.parts["protocol"]
    run = {key: settings.config[key] for key in ("batch_size", "evaluator", "speed", "run")}
    run["precision"] = [settings.precision, settings.train.recipe.precision if settings.train else None]
    run["run"] = {key: value for key, value in run["run"].items() if key not in CARRYING_OUT}
    fixed = {**settings.parts, **run}
    changed = hashlib.sha256(" ".join(settings.changes).encode()).hexdigest()[:8]
    return Record(
        entry=f"{entry.name}+{changed}" if settings.changes else entry.name,
        zoo=entry.zoo,
        based_on=entry.name if settings.changes else None,
        changes=list(settings.changes),
        protocol={
            "name": protocol["name"],
            "version": protocol["version"],
            "precision": settings.precision,
            "config": dict(settings.config),
            "config_sha256": hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest(),
        },
        code=code_state(),
        times={"started": _now(), "stages": {}},
        seed=settings.seed,
    )


def _leave(settings: RunSettings, record: Record) -> None:
    """Judge the record, write it to the run's folder, file it under the results.

    What was trained here never takes the place of the published weights' row: it is filed apart, by seed,
    and judged together with what other seeds of the same recipe gave.
    """
    if not first_process():
        return
    record.verdict = judge(with_seeds(record, settings.results_dir), settings.entry)
    record.write(settings.run_dir / "record.json")
    results = settings.results_dir
    (seed_ledger(results, settings.seed) if settings.train else Ledger(results)).add(record)


def _open_data(data: DataSettings, classes: tuple[str, ...], record: Record) -> tuple[CocoGroundTruth, list[Path]]:
    """The annotations and the image files, all of which are there."""
    ground_truth, files, source = _open_split(data, data, classes)
    record.data = {
        "name": data.name,
        "split": data.split,
        "images": len(ground_truth),
        "annotations_sha256": ground_truth.sha256,
        "files_sha256": source.files_sha256,
        "partial": len(ground_truth) < data.whole,
    }
    return ground_truth, files


def _open_split(
    data: DataSettings, split: DataSettings | SplitSettings, classes: tuple[str, ...]
) -> tuple[CocoGroundTruth, list[Path], Source]:
    """The annotations of one split of a data set, its image files, and where they come from."""
    source = provide(data.name, split.split) if data.root is None else Source(data.root)
    ground_truth = CocoGroundTruth.load(source.root / split.annotations).with_categories(classes)
    if split.limit is not None:
        ground_truth = ground_truth.subset(split.limit)
    folder = source.root / split.images
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of images", next_step="check data.root")
    files = [folder / name for name in ground_truth.file_names]
    there = {file.name for file in folder.iterdir()}
    absent = [file for file in files if file.name not in there]
    if absent:
        message = f"{folder}: lacks {len(absent)} of {len(files)} images, such as {absent[0].name}"
        raise DataError(message, next_step="complete the folder, or limit the run with data.limit=N")
    return ground_truth, files, source


def _prepare(detector: Detector, settings: RunSettings) -> None:
    """Fold and lay out a detector as its protocol says."""
    protocol = settings.parts["protocol"]
    if protocol["fold_batch_norm"]:
        fold_batch_norm(detector)
    if protocol["channels_last"]:
        detector.use_channels_last()


def _plan(
    settings: RunSettings, detector: Detector, ground_truth: CocoGroundTruth, record: Record
) -> list[PlannedBatch]:
    """Which images of the evaluation share a batch, as the protocol says."""
    sizes = list(zip(ground_truth.heights.tolist(), ground_truth.widths.tolist(), strict=True))
    rule = build_batching(settings.parts, detector.transform)
    batches = rule.plan(sizes, settings.batch_size, whole=not record.data["partial"])
    record.protocol["batches"] = describe(batches)
    return batches


def _accuracy(
    settings: RunSettings,
    detector: Detector,
    dataset: ImageDataset,
    ground_truth: CocoGroundTruth,
    batches: Sequence[PlannedBatch],
    processes: Processes,
) -> dict[str, Any]:
    """COCO's numbers; nothing in another process than the first."""
    iou_types: tuple[IouType, ...] = ("bbox", "segm") if detector.has_masks else ("bbox",)
    rounding = settings.parts["protocol"].get("rounding")
    accuracy = Accuracy(
        ground_truth,
        evaluator=settings.evaluator,
        iou_types=iou_types,
        rounding=None if rounding is None else Rounding(**rounding),
    )
    metrics: list[Metric] = [accuracy]
    workers = _workers(settings, detector.device)
    samples = image_loader(dataset, batches, workers, rank=processes.rank, processes=processes.count)
    evaluate(detector, samples, metrics, images=len(dataset), precision=settings.precision, processes=processes)
    if not processes.first:
        return {}
    accuracy.write_predictions(settings.run_dir / "predictions.json")
    return accuracy.result()


def _speed(settings: RunSettings, detector: Detector, dataset: ImageDataset) -> dict[str, Any]:
    samples, warmup = _timed_samples(settings, detector.device, dataset)
    speed = Speed()
    rounds = time_phases(detector, samples, warmup=warmup, rounds=settings.speed.rounds, precision=settings.precision)
    for index, times in rounds:
        speed.update(index, times)
    return speed.result()


def _onnx_latency(settings: RunSettings, detector: YoloDetector, dataset: ImageDataset) -> dict[str, Any]:
    path = settings.run_dir / ONNX_FILE
    export_network(detector, path)
    samples, warmup = _timed_samples(settings, detector.device, dataset)
    return onnx_latency(OnnxDetector(detector, path), samples, warmup=warmup, rounds=settings.speed.rounds)


def _timed_samples(settings: RunSettings, device: torch.device, dataset: ImageDataset) -> tuple[list[Sample], int]:
    """The images of a timing, in memory, and how many are run through before it."""
    on_gpu = device.type == "cuda"
    wanted = settings.speed.images or (200 if on_gpu else 5)
    warmup = settings.speed.warmup if settings.speed.warmup is not None else (50 if on_gpu else 2)
    return [dataset.transform(file) for file in dataset.files[:wanted]], warmup


def _workers(settings: RunSettings, device: torch.device) -> int:
    if settings.workers is not None:
        return settings.workers
    # A GPU outruns one decoding process; a CPU that runs the network has no core to spare for another.
    return min(4, os.cpu_count() or 1) if device.type == "cuda" else 0


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextlib.contextmanager
def _stage(record: Record, name: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        record.times["stages"][name] = round(time.perf_counter() - start, 3)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
