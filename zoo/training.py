"""The training of an entry: its recipe, the data and the options of the run, put together for the loop."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zoo.data.augment import Augmentation, MultiScale
from zoo.data.coco import CocoGroundTruth
from zoo.data.training import TrainingBatches, TrainingDataset, TrainingOrder
from zoo.errors import UsageError
from zoo.models.detectors.base import Detector
from zoo.run.distributed import joined
from zoo.run.optimizers import WeightAverage, make_optimizer
from zoo.run.schedule import LearningRate, scaled_rate
from zoo.run.state import export_weights
from zoo.run.train import Plan, Trainer
from zoo.settings import RunSettings, TrainSettings

WEIGHTS = "weights.pth"
"""The trained weights in a run's folder: a flat state dict, averaged where the recipe averages."""


def train(
    settings: RunSettings,
    options: TrainSettings,
    detector: Detector,
    ground_truth: CocoGroundTruth,
    files: Sequence[Path],
    *,
    workers: int,
    evaluate: Callable[[int], None],
) -> dict[str, Any]:
    """Train a detector where it is; afterwards it is in eval mode and holds the weights that are evaluated.

    Args:
        settings: the run.
        options: how the recipe is carried out.
        detector: on its device, with its first weights.
        ground_truth: of the training split, with the entry's classes.
        files: its images.
        workers: processes that decode images.
        evaluate: called between epochs, as `Trainer.run` says.

    Returns:
        What was done, for the record.

    Raises:
        UsageError: the batch cannot be split as asked, or the folder holds another training.
        ZooError: the training diverged, or the disk refuses.
    """
    schedule = options.schedule
    with joined(detector.device) as processes:
        batch_size = options.batch_size or schedule.batch_size
        augmentation = Augmentation(multi_scale=MultiScale.from_mapping(schedule.multi_scale), crop=schedule.crop)
        dataset = TrainingDataset(ground_truth, files, augmentation, settings.seed, masks=detector.has_masks)
        order = _order(settings, options, dataset, batch_size, processes.count)
        rate = _rate(options, batch_size, order.steps_per_epoch)
        set_of = {"images": len(dataset), "annotations_sha256": ground_truth.sha256}
        done = _summary(options, order, rate, batch_size) | set_of
        trainer = Trainer(
            detector,
            make_optimizer(detector, dataclasses.replace(schedule.optimizer, lr=rate.base)),
            rate,
            _plan(settings, options, order, done),
            processes.agree(settings.run_dir),
            average=WeightAverage(detector, schedule.ema) if schedule.ema else None,
            processes=processes,
        )
        batches = TrainingBatches(dataset, order, workers=workers, rank=processes.rank, processes=processes.count)
        trainer.run(batches, resume=options.resume, evaluate=evaluate)
    if trainer.average is not None:
        detector.load_state_dict(trainer.average.tensors)
    if processes.first:
        export_weights(settings.run_dir / WEIGHTS, detector.state_dict())
    detector.eval()
    return done | {"processes": processes.count}


def images_per_pass(options: TrainSettings, batch_size: int, processes: int) -> int:
    """Images that go through the network together.

    What the run asks for; else as many as in the recipe, or the most below that into which the share
    of a process splits evenly. The number decides the losses (each pass divides by its own counts),
    so the default does not depend on the number of processes where the share allows it.

    Raises:
        UsageError: the batch does not split evenly.
    """
    share, rest = divmod(batch_size, processes)
    if rest:
        message = f"batch_size: {batch_size} images do not split evenly over {processes} processes"
        raise UsageError(message, next_step=f"give batch_size as a multiple of {processes}")
    wanted = options.images_per_pass
    if wanted is None:
        wanted = min(options.schedule.images_per_gpu or share, share)
        return max(size for size in range(1, wanted + 1) if share % size == 0)
    if share % wanted:
        message = f"run.images_per_pass: {share} images a step of a process do not split into passes of {wanted}"
        raise UsageError(message, next_step=f"give it as a divisor of {share}, such as {math.gcd(share, wanted)}")
    return wanted


def _order(
    settings: RunSettings, options: TrainSettings, dataset: TrainingDataset, batch_size: int, processes: int
) -> TrainingOrder:
    return TrainingOrder(
        dataset.wide,
        batch_size=batch_size,
        part_size=images_per_pass(options, batch_size, processes),
        seed=settings.seed,
        repeat=options.schedule.repeat,
    )


def _rate(options: TrainSettings, batch_size: int, steps_per_epoch: int) -> LearningRate:
    schedule = options.schedule
    lr = schedule.optimizer.lr
    return LearningRate(
        base=scaled_rate(lr, batch_size, schedule.batch_size) if options.scale_lr else lr,
        milestones=schedule.milestones,
        iterations_per_epoch=steps_per_epoch,
        warmup=schedule.warmup,
    )


def _summary(options: TrainSettings, order: TrainingOrder, rate: LearningRate, batch_size: int) -> dict[str, Any]:
    schedule = options.schedule
    all_steps = schedule.epochs * order.steps_per_epoch
    return {
        "schedule": schedule.name,
        "epochs": schedule.epochs,
        "batch_size": batch_size,
        "recipe_batch_size": schedule.batch_size,
        "images_per_pass": order.part_size,
        "lr": rate.base,
        "recipe_lr": schedule.optimizer.lr,
        "steps": min(options.max_steps or all_steps, all_steps),
        "steps_per_epoch": order.steps_per_epoch,
    }


def _plan(settings: RunSettings, options: TrainSettings, order: TrainingOrder, done: dict[str, Any]) -> Plan:
    # The steps are left out: a training that was cut short may go on for longer.
    identity = {name: value for name, value in done.items() if name != "steps"}
    parts = {group: part for group, part in settings.parts.items() if group != "protocol"}
    return Plan(
        steps=done["steps"],
        parts=order.parts_per_step,
        seed=settings.seed,
        precision=settings.precision,
        clip=options.schedule.clip,
        checkpoint_every=options.checkpoint_every,
        evaluate_every=options.evaluate_every,
        identity=identity | parts | {"seed": settings.seed, "precision": settings.precision},
    )
