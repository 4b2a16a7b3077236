"""The training of an entry: its recipe, the data and the options of the run, put together for the loop."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from zoo.checkpoints.obtain import location
from zoo.data.augment import mmdet, ultralytics
from zoo.data.augment.operations import MultiScale
from zoo.data.augment.training_set import TrainingSet
from zoo.data.coco import CocoGroundTruth
from zoo.data.loader import TrainLoader
from zoo.data.sampler import AspectRatioBatchSampler
from zoo.errors import UsageError
from zoo.fetch.hashes import hash_file
from zoo.models.detectors.base import Detector
from zoo.runtime.distributed import Processes
from zoo.schema import build
from zoo.train.config import Recipe, TrainConfig
from zoo.train.initial import refuse_trial
from zoo.train.optimizers import WeightAverage, make_optimizer
from zoo.train.rates import rate_curve
from zoo.train.schedule import RateCurve, scaled_decay
from zoo.train.state import export_weights
from zoo.train.trainer import Part, Plan, Trainer
from zoo.types import Size

WEIGHTS = "weights.pth"
"""The trained weights in a run's folder: a flat state dict, averaged where the recipe averages."""


def train(
    config: TrainConfig,
    detector: Detector,
    ground_truth: CocoGroundTruth,
    files: Sequence[Path],
    *,
    begun_with: Any,
    workers: int,
    processes: Processes,
    evaluate: Callable[[int], None],
) -> dict[str, Any]:
    """Train a detector where it is; afterwards it is in eval mode and holds the weights that are evaluated.

    Args:
        config: the recipe, and how it is carried out.
        detector: on its device, with its first weights.
        ground_truth: of the training split, with the entry's classes.
        files: its images.
        begun_with: what the first weights are, for the record; a training that goes on knows it by itself.
        workers: processes that decode images.
        processes: that train together.
        evaluate: called between epochs, as `Trainer.run` says.

    Returns:
        What was done, for the record.

    Raises:
        UsageError: the batch cannot be split as asked, or the folder holds another training.
        ZooError: the training diverged, or the disk refuses.
    """
    recipe, batch_size = config.recipe, config.batch_size
    dataset = _dataset(recipe, config.seed, detector, ground_truth, files)
    order = _order(config, dataset, processes.count)
    rate = rate_curve(recipe.schedule, batch_size, order.steps_per_epoch, scaled=config.scale_lr)
    set_of = {"images": len(dataset), "annotations_sha256": ground_truth.sha256}
    done = _summary(config, order, rate) | set_of
    plan = _plan(config, order, done, begun_with)
    trainer = _trainer(recipe, detector, rate, plan, processes.agree(config.run_dir), processes, batch_size)
    if config.resume:
        trainer.restore()
        refuse_trial(trainer.begun_with, config)
    batches = TrainLoader(dataset, order, workers=workers, rank=processes.rank, processes=processes.count)
    trainer.run(batches, evaluate=evaluate)
    if trainer.average is not None:
        detector.load_state_dict(trainer.average.tensors)
    processes.unify(detector)
    if processes.first:
        export_weights(config.run_dir / WEIGHTS, detector.state_dict())
    detector.eval()
    return done | {"processes": processes.count, "begun_with": trainer.begun_with}


def trained_weights(run_dir: Path) -> dict[str, Any]:
    """The exported weights of a training as a record holds a checkpoint."""
    path = run_dir / WEIGHTS
    digest = hash_file(path)
    return {
        "path": location(path),
        "url": None,
        "sha256": digest.sha256,
        "size": digest.size,
        "hash_evidence": "none",
    }


def rehearse(
    recipe: Recipe,
    detector: Detector,
    ground_truth: CocoGroundTruth,
    files: Sequence[Path],
    *,
    steps: int,
    seed: int,
    workers: int,
) -> dict[str, Any]:
    """Take the first steps of a training as one GPU of the recipe's takes them, and leave nothing behind.

    Args:
        recipe: how the entry is trained.
        detector: on its device; its weights are changed.
        ground_truth: of the images.
        files: the images.
        steps: how many.
        seed: of everything random.
        workers: processes that decode images.

    Returns:
        What a step was: images_per_gpu, precision, and largest_input, (height, width) in pixels with padding.
    """
    schedule = recipe.schedule
    images = schedule.images_per_gpu or schedule.batch_size
    dataset = _dataset(recipe, seed, detector, ground_truth, files)
    order = AspectRatioBatchSampler(dataset.is_landscape, batch_size=images, micro_batch_size=images, seed=seed)
    rate = rate_curve(schedule, images, order.steps_per_epoch)
    plan = Plan(
        steps=steps,
        parts=1,
        seed=seed,
        precision=recipe.precision,
        loss_scale=recipe.loss_scale,
        clip=schedule.clip,
        gradients=schedule.gradients,
    )
    sizes: list[Size] = []

    def watched(start: int, stop: int) -> Iterator[Sequence[Part]]:
        for parts in TrainLoader(dataset, order, workers=workers)(start, stop):
            sizes.extend(_padded_size(detector, part) for part in parts)
            yield parts

    _trainer(recipe, detector, rate, plan, Path(), Processes(), images).rehearse(watched)
    largest = max(sizes, key=math.prod)
    return {"images_per_gpu": images, "precision": recipe.precision, "largest_input": list(largest)}


def micro_batch_size(config: TrainConfig, processes: int) -> int:
    """Images that go through the network together.

    What the run asks for; else as many as in the recipe, or the most below that into which the share
    of a process splits evenly. The number decides the losses (each pass divides by its own counts),
    so the default does not depend on the number of processes where the share allows it.

    Raises:
        UsageError: the batch does not split evenly.
    """
    share, rest = divmod(config.batch_size, processes)
    if rest:
        message = f"batch_size: {config.batch_size} images do not split evenly over {processes} processes"
        raise UsageError(message, next_step=f"give batch_size as a multiple of {processes}")
    wanted = config.micro_batch_size
    if wanted is None:
        wanted = min(config.recipe.schedule.images_per_gpu or share, share)
        return max(size for size in range(1, wanted + 1) if share % size == 0)
    if share % wanted:
        message = f"run.micro_batch_size: {share} images a step of a process do not split into passes of {wanted}"
        raise UsageError(message, next_step=f"give it as a divisor of {share}, such as {math.gcd(share, wanted)}")
    return wanted


def _dataset(
    recipe: Recipe, seed: int, detector: Detector, ground_truth: CocoGroundTruth, files: Sequence[Path]
) -> TrainingSet:
    schedule, masks = recipe.schedule, detector.has_masks
    step = "correct the file of conf/schedule; its keys are in zoo/data/augment"
    if schedule.mosaic is not None:
        settings = build(ultralytics.MosaicSettings, schedule.mosaic, "schedule.mosaic", step)
        epochs = schedule.epochs
        return ultralytics.training_set(ground_truth, files, settings, epochs=epochs, seed=seed, masks=masks)
    scales = build(MultiScale, schedule.multi_scale, "schedule.multi_scale", step)
    return mmdet.training_set(ground_truth, files, multi_scale=scales, crop=schedule.crop, seed=seed, masks=masks)


def _trainer(
    recipe: Recipe, detector: Detector, rate: RateCurve, plan: Plan, folder: Path, processes: Processes, batch_size: int
) -> Trainer:
    schedule, settings = recipe.schedule, dataclasses.replace(recipe.schedule.optimizer, lr=rate.base)
    if schedule.accumulate_to is not None:
        decay = scaled_decay(settings.weight_decay, batch_size, schedule.accumulate_to)
        settings = dataclasses.replace(settings, weight_decay=decay)
    optimizer = make_optimizer(detector, settings)
    average = WeightAverage(detector, schedule.ema) if schedule.ema else None
    return Trainer(detector, optimizer, rate, plan, folder, average=average, processes=processes)


def _padded_size(detector: Detector, part: Part) -> Size:
    """Height and width of the images of a part inside their batch."""
    heights, widths = zip(*(sample.pixels.shape[:2] for sample, _ in part), strict=True)
    return detector.normalizer.padded_size((max(heights), max(widths)))


def _order(config: TrainConfig, dataset: TrainingSet, processes: int) -> AspectRatioBatchSampler:
    return AspectRatioBatchSampler(
        dataset.is_landscape,
        batch_size=config.batch_size,
        micro_batch_size=micro_batch_size(config, processes),
        seed=config.seed,
        repeat=config.recipe.schedule.repeat,
    )


def _summary(config: TrainConfig, order: AspectRatioBatchSampler, rate: RateCurve) -> dict[str, Any]:
    schedule = config.recipe.schedule
    all_steps = schedule.epochs * order.steps_per_epoch
    return {
        "schedule": schedule.name,
        "epochs": schedule.epochs,
        "batch_size": config.batch_size,
        "recipe_batch_size": schedule.batch_size,
        "micro_batch_size": order.micro_batch_size,
        "precision": config.recipe.precision,
        "lr": rate.base,
        "recipe_lr": schedule.optimizer.lr,
        "steps": min(config.max_steps or all_steps, all_steps),
        "steps_per_epoch": order.steps_per_epoch,
    }


def _plan(config: TrainConfig, order: AspectRatioBatchSampler, done: dict[str, Any], begun_with: Any) -> Plan:
    # The steps are left out: a training that was cut short may go on for longer.
    identity = {name: value for name, value in done.items() if name != "steps"}
    return Plan(
        steps=done["steps"],
        parts=order.micro_batches_per_step,
        seed=config.seed,
        precision=config.recipe.precision,
        loss_scale=config.recipe.loss_scale,
        clip=config.recipe.schedule.clip,
        gradients=config.recipe.schedule.gradients,
        checkpoint_every=config.checkpoint_every,
        evaluate_every=config.evaluate_every,
        identity={**identity, **config.identity, "seed": config.seed},
        begun_with=begun_with,
    )
