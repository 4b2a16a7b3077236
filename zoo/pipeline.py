"""The conductor: the whole run of one entry, in order. The only module that knows the order."""

from __future__ import annotations

import json

from zoo.config.build import cached_transform, open_data, plan_batches, prepare
from zoo.config.run_settings import RunSettings
from zoo.config.weights import Weights
from zoo.console import announce
from zoo.data.batching import describe
from zoo.data.loader import ImageDataset, default_workers
from zoo.data.splits import Split
from zoo.files import write_atomically
from zoo.measure.accuracy import accuracy
from zoo.measure.measurement import Subject, measurement
from zoo.models.detectors.base import Detector
from zoo.results.ledger import Filed, Ledger
from zoo.results.outcome import measure, outcome, possible, stage
from zoo.results.record import CheckpointRecord, DataRecord, Record
from zoo.results.seeds import with_other_seeds
from zoo.results.verdict import judge
from zoo.runtime.distributed import DistributedContext, init_distributed, is_main_process, local_device
from zoo.runtime.hardware import fingerprint, refuse_mode, resolve_device, use_true_float32
from zoo.runtime.seeding import seed_everything
from zoo.train.config import TrainConfig
from zoo.train.training import train, trained_weights


def run(settings: RunSettings) -> tuple[Record, Filed | None]:
    """Measure one entry and leave its record, whatever happens; returns it, and what the first process filed.

    Raises:
        ZooError: the record itself could not be written.
        KeyboardInterrupt: after the record of the interrupted run was written to the run's folder.
    """
    record = settings.new_record()
    try:
        with outcome(record, settings.run_dir):
            _measure(settings, record)
    finally:
        if is_main_process():
            record.verdict = judge(with_other_seeds(record, settings.results_dir), settings.entry)
            record.write(settings.run_dir / "record.json")
    return record, Ledger(settings.results_dir).file(record, settings.run_dir) if is_main_process() else None


def _measure(settings: RunSettings, record: Record) -> None:
    """Every stage in order; each adds its part to the record as soon as it is known."""
    seed_everything(settings.asked.seed)
    use_true_float32()
    device = local_device(resolve_device(settings.asked.device))
    refuse_mode(settings.asked.mode, device.type)
    record.hardware, record.identity = fingerprint(device), record.identity.on(device.type)
    with init_distributed(device) as context:
        with stage(record, "checkpoint"):
            weights = Weights(settings)
            record.checkpoint = weights.checkpoint
        with stage(record, "model"):
            detector = weights.load().to(device)
        with stage(record, "data"):
            split = open_data(settings.asked.data, detector.classes)
            record.data = DataRecord.of(split)
        announce(record, settings.entry)
        subject = _subject(settings, detector, weights, split, context)
        record.protocol.batches = describe(subject.batches)
        asked = possible(map(measurement, settings.measure), subject, record, standing=settings.standing)
        if settings.train is not None:
            with stage(record, "training"):
                _train(settings.train, settings, subject, weights, record)
        prepare(detector, subject.protocol, settings.asked.mode)
        for part in (part for part in asked if part.collective or context.is_main):
            measure(part, subject, record, standing=settings.standing)


def _subject(
    settings: RunSettings, detector: Detector, weights: Weights, split: Split, context: DistributedContext
) -> Subject:
    """What is measured: the detector on its images."""
    asked, truth = settings.asked, split.ground_truth
    transform = cached_transform(settings, detector.transform)
    return Subject(
        detector=detector,
        fresh=weights.load,
        dataset=ImageDataset(split.files, truth.image_ids.tolist(), truth.sizes, transform),
        ground_truth=truth,
        batches=plan_batches(settings.parts, detector.transform, split, settings.batch_size),
        precision=settings.precision,
        context=context,
        workers=default_workers(detector.device.type) if asked.workers == "auto" else asked.workers,
        seed=asked.seed,
        run_dir=settings.run_dir,
        protocol=settings.parts["protocol"],
        options={"speed": asked.speed, "evaluator": asked.evaluator},
        recipe=settings.recipe,
    )


def _train(config: TrainConfig, settings: RunSettings, subject: Subject, weights: Weights, record: Record) -> None:
    """Train the detector; its checkpoint in the record is then the one that was made here."""
    split, evaluations = open_data(settings.asked.data, subject.detector.classes, training=True), {}

    def between_epochs(epoch: int) -> None:
        evaluations[epoch] = accuracy(subject)
        if subject.context.is_main:
            write_atomically(settings.run_dir / "evaluations.json", json.dumps(evaluations, indent=1) + "\n")

    record.protocol.training = train(
        config,
        subject.detector,
        split.ground_truth,
        split.files,
        init_from=weights.description,
        workers=subject.workers,
        context=subject.context,
        evaluate=between_epochs,
    ) | {"other_data": split.difference, "equivalent": split.equivalent}
    if subject.context.is_main:
        record.checkpoint = CheckpointRecord(**trained_weights(settings.run_dir))
