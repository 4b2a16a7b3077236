"""The conductor: the whole run of one entry, in order. The only module that knows the order."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoo.checkpoints.obtain import described, obtain
from zoo.config.build import build_batching, build_model, load_detector, open_data, prepare
from zoo.config.settings import RunSettings
from zoo.data.batching import describe
from zoo.data.loader import ImageDataset, default_workers
from zoo.errors import BlockedError
from zoo.files import write_atomically
from zoo.measure.accuracy import accuracy
from zoo.measure.measurement import Subject, measurements
from zoo.models.detectors.base import Detector
from zoo.results.ledger import Filed, Ledger
from zoo.results.outcome import add_part, outcome, skip, skipping, stage
from zoo.results.record import CheckpointRecord, DataRecord, Record
from zoo.results.seeds import with_other_seeds
from zoo.results.verdict import judge
from zoo.runtime.distributed import Processes, first_process, joined, local_device
from zoo.runtime.hardware import fingerprint, resolve_device, use_true_float32
from zoo.runtime.seeding import seed_everything
from zoo.train.initial import Beginning
from zoo.train.training import WEIGHTS, train


def run(settings: RunSettings) -> tuple[Record, Filed | None]:
    """Measure one entry, and leave its record, whatever happens.

    Returns:
        The record, and what was filed under the results; None in another process than the first.

    Raises:
        ZooError: the record itself could not be written.
        KeyboardInterrupt: after the record of the interrupted run was written to the run's folder.
    """
    record = settings.new_record()
    try:
        with outcome(record, settings.run_dir):
            _measure(settings, record)
    finally:
        if first_process():
            record.verdict = judge(with_other_seeds(record, settings.results_dir), settings.entry)
            record.write(settings.run_dir / "record.json")
    return record, Ledger(settings.results_dir).file(record) if first_process() else None


def _measure(settings: RunSettings, record: Record) -> None:
    """Every stage in order; each adds its part to the record as soon as it is known."""
    seed_everything(settings.asked.seed)
    use_true_float32()
    device = local_device(resolve_device(settings.asked.device))
    record.hardware = fingerprint(device)
    record.identity = record.identity.on(device.type)
    with joined(device) as processes:
        with stage(record, "checkpoint"):
            weights = _weights(settings, record)
        with stage(record, "data"):
            data, split = settings.asked.data, open_data(settings)
            truth = split.ground_truth
            record.data = DataRecord.of(data.name, data.split, truth, split)
        with stage(record, "model"):
            detector = _build(settings, weights, record).to(device)
        dataset = ImageDataset(split.files, truth.image_ids.tolist(), detector.transform)
        batches = build_batching(settings.parts, detector.transform).plan(
            list(zip(truth.heights.tolist(), truth.widths.tolist(), strict=True)),
            settings.batch_size,
            whole=not split.partial,
        )
        record.protocol.batches = describe(batches)
        subject = Subject(
            detector=detector,
            fresh=functools.partial(_fresh, settings, weights),
            dataset=dataset,
            ground_truth=truth,
            batches=batches,
            precision=settings.precision,
            processes=processes,
            workers=default_workers(device) if settings.asked.workers == "auto" else settings.asked.workers,
            seed=settings.asked.seed,
            run_dir=settings.run_dir,
            protocol=settings.parts["protocol"],
            options={"speed": settings.asked.speed, "evaluator": settings.asked.evaluator},
            recipe=settings.recipe,
        )
        possible = _possible(settings, subject, record)
        if settings.train is not None:
            with stage(record, "training"):
                _train(settings, subject, weights, record)
        prepare(detector, settings.parts["protocol"])
        for measurement in possible:
            if measurement.collective or processes.first:
                with skipping(record, measurement.name), stage(record, measurement.name):
                    values = measurement.run(subject)
                ...
