"""The training of an entry: its recipe and its data put together for the loop."""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.checkpoints.fetch_checkpoint import portable_path
from zoo.data.augment import jwyang, mmdet, paddle, torchvision, ultralytics
from zoo.data.augment.jwyang import RatioGroupedSet
from zoo.data.augment.training_set import TrainingSet
from zoo.data.coco import CocoGroundTruth
from zoo.data.loader import TrainLoader
from zoo.data.sampler import AspectRatioBatchSampler, BatchSampler, FixedGroupSampler, RatioBinSampler
from zoo.errors import UsageError
from zoo.fetch.hashes import hash_file
from zoo.models.detectors.base import Detector
from zoo.runtime.distributed import DistributedContext
from zoo.train.config import Recipe, TrainConfig
from zoo.train.initial import RANDOM_INIT, refuse_dry_run
from zoo.train.optimizers import ModelEma, make_optimizer
from zoo.train.rates import LRSchedule, build_lr_schedule, scaled_weight_decay
from zoo.train.schedule import Schedule
from zoo.train.state import export_weights
from zoo.train.trainer import MicroBatch, Trainer
from zoo.train.worst_batch import STEPS_TRIED, filled_samplers, worst_micro_batch
from zoo.types import Size

log = logging.getLogger(__name__)

WEIGHTS = "weights.pth"
"""The trained weights in a run's folder: a flat state dict with its class list, averaged where the recipe averages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What the steps of `profile_steps` were.

    Attributes:
        images_per_gpu: images of a step.
        largest_input: (height, width) in pixels with padding of the largest ordinary batch.
        worst_input: likewise of the worst batch.
        worst_objects: objects in each of its images.
    """

    images_per_gpu: int
    largest_input: Size
    worst_input: Size
    worst_objects: list[int]


def train(
    config: TrainConfig,
    detector: Detector,
    ground_truth: CocoGroundTruth,
    files: Sequence[Path],
    *,
    init_from: str | Mapping[str, Any],
    workers: int,
    context: DistributedContext,
    evaluate: Callable[[int], None],
) -> dict[str, Any]:
    """Train a detector where it is; afterwards it is in eval mode and holds the weights that are evaluated.

    Args:
        config: the recipe, and how it is carried out.
        detector: the detector, on its device, with its initial weights.
        ground_truth: annotations of the training split, with the entry's classes.
        files: image files of the training split, in the order of the annotations.
        init_from: description of the initial weights, for the record; a training that is resumed keeps its own.
        workers: processes that decode images.
        context: the processes that train together.
        evaluate: called between epochs, as `Trainer.run` says.

    Returns:
        What was done, for the record.

    Raises:
        UsageError: the batch cannot be split as asked, or the folder holds another training.
        ZooError: the training diverged, or the disk refuses.
    """
    recipe = config.recipe
    micro_batch_size = resolve_micro_batch_size(config, context.world_size)
    dataset, sampler = _views(config, detector, ground_truth, files, micro_batch_size, detector.has_masks)
    account = dataset.images.account
    if context.is_main:
        log.info("training on %s", account)
    lr_schedule = build_lr_schedule(
        recipe.schedule, config.batch_size, sampler.steps_per_epoch, scale_lr=config.scale_lr
    )
    training_set = {"images": len(dataset), "annotations_sha256": ground_truth.sha256}
    summary = _summary(config, sampler, lr_schedule) | training_set
    # The steps are left out: a training that was cut short may go on for longer.
    identity = {name: value for name, value in summary.items() if name != "steps"}
    identity = {**identity, **config.identity, "seed": config.seed}
    config = dataclasses.replace(config, identity=identity, run_dir=context.broadcast_path(config.run_dir))
    trainer = _trainer(
        config, detector, lr_schedule, sampler, steps=summary["steps"], init_from=init_from, context=context
    )
    if config.resume:
        trainer.restore()
        refuse_dry_run(trainer.init_from, config)
    loader = TrainLoader(
        dataset,
        sampler,
        workers=workers,
        device=detector.device,
        rank=context.rank,
        world_size=context.world_size,
    )
    trainer.run(loader, evaluate=evaluate)
    if trainer.ema is not None:
        detector.load_state_dict(trainer.ema.tensors)
    context.broadcast_model(detector)
    if context.is_main:
        export_weights(config.run_dir / WEIGHTS, detector.state_dict(), detector.classes)
    detector.eval()
    return summary | dataclasses.asdict(account) | {"processes": context.world_size, "init_from": trainer.init_from}


def trained_weights(run_dir: Path) -> dict[str, Any]:
    """The exported weights of a training as a record holds a checkpoint."""
    path = run_dir / WEIGHTS
    digest = hash_file(path)
    return {
        "path": portable_path(path),
        "url": None,
        "sha256": digest.sha256,
        "size": digest.size,
        "hash_evidence": "none",
    }


def profile_steps(
    recipe: Recipe,
    detector: Detector,
    ground_truth: CocoGroundTruth,
    files: Sequence[Path],
    *,
    steps: int,
    worst_steps: int,
    seed: int,
    workers: int,
    after_step: Callable[[], None],
) -> Profile:
    """Take the first steps of a training as one GPU of the recipe takes them, then its worst batch; leave nothing.

    Args:
        recipe: the recipe.
        detector: the detector, on its device; its weights are changed.
        ground_truth: annotations of the images.
        files: image files, in the order of the annotations.
        steps: number of ordinary steps, on views of the images.
        worst_steps: number of steps on the worst batch after them, see `zoo.train.worst_batch`.
        seed: the seed of the training.
        workers: processes that decode images.
        after_step: called after each step.
    """
    images = recipe.schedule.images_per_gpu or recipe.schedule.batch_size
    config = TrainConfig(recipe=recipe, batch_size=images, seed=seed, run_dir=Path())
    dataset, sampler = _views(config, detector, ground_truth, files, images, detector.has_masks)
    lr_schedule = build_lr_schedule(recipe.schedule, images, sampler.steps_per_epoch)
    loader = TrainLoader(dataset, sampler, workers=workers, device=detector.device)
    shapes: list[Size] = []
    worst = _worst_batch(config, detector, ground_truth)

    def watched(start: int, stop: int) -> Iterator[Sequence[MicroBatch]]:
        for micro_batches in loader(start, stop - worst_steps):
            shapes.extend(_batch_shape(detector, micro_batch) for micro_batch in micro_batches)
            yield micro_batches
            after_step()
        with filled_samplers(detector, [target for _, target in worst]):
            for _ in range(worst_steps):
                yield [worst]
                after_step()

    _trainer(config, detector, lr_schedule, sampler, steps=steps + worst_steps).profile_steps(watched)
    return Profile(
        images_per_gpu=images,
        largest_input=max(shapes, key=math.prod),
        worst_input=_batch_shape(detector, worst),
        worst_objects=[len(target.labels) for _, target in worst],
    )


def _worst_batch(config: TrainConfig, detector: Detector, ground_truth: CocoGroundTruth) -> MicroBatch:
    def views(schedule: Schedule, truth: CocoGroundTruth, files: Sequence[Path], masks: bool) -> Iterator[MicroBatch]:
        asked = dataclasses.replace(config, recipe=dataclasses.replace(config.recipe, schedule=schedule))
        dataset, sampler = _views(asked, detector, truth, files, config.batch_size, masks and detector.has_masks)
        for (micro_batch,) in TrainLoader(dataset, sampler)(0, min(STEPS_TRIED, sampler.steps_per_epoch)):
            yield micro_batch

    with tempfile.TemporaryDirectory() as folder:
        shape_of = functools.partial(_batch_shape, detector)
        schedule, images = config.recipe.schedule, config.batch_size
        return worst_micro_batch(schedule, views, shape_of, ground_truth, images, Path(folder))


def resolve_micro_batch_size(config: TrainConfig, world_size: int) -> int:
    """The images of one forward pass.

    What the run asks for; else as many as in the recipe, or the most below that into which the share
    of a process splits evenly. The number decides the losses (each micro-batch divides by its own counts),
    so the default does not depend on the number of processes where the share allows it. Where the recipe normalises
    over whole steps the share is not split.

    Args:
        config: the training.
        world_size: number of processes that share the batch.

    Raises:
        UsageError: the batch does not split evenly.
    """
    share, rest = divmod(config.batch_size, world_size)
    if rest:
        message = f"batch_size: {config.batch_size} images do not split evenly over {world_size} processes"
        raise UsageError(message, next_step=f"give batch_size as a multiple of {world_size}")
    asked = config.micro_batch_size
    if asked is None:
        schedule = config.recipe.schedule
        most = share if schedule.sync_bn else min(schedule.images_per_gpu or share, share)
        return max(size for size in range(1, most + 1) if share % size == 0)
    if share % asked:
        message = f"run.micro_batch_size: {share} images a step of a process do not split into micro-batches of {asked}"
        raise UsageError(message, next_step=f"give it as a divisor of {share}, such as {math.gcd(share, asked)}")
    return asked


def _views(
    config: TrainConfig,
    detector: Detector,
    ground_truth: CocoGroundTruth,
    files: Sequence[Path],
    micro_batch_size: int,
    masks: bool,
) -> tuple[TrainingSet | RatioGroupedSet, BatchSampler]:
    """What is trained on, and which of it in every step."""
    schedule, seed, batch_size = config.recipe.schedule, config.seed, config.batch_size
    if schedule.ratio_groups is not None:
        if masks:
            message = (
                f"the views of the schedule {schedule.name} have no masks, and {type(detector).__name__} needs them"
            )
            raise UsageError(message, next_step="choose another with schedule=NAME (see conf/schedule)")
        groups, transform = schedule.ratio_groups, detector.transform
        grouped = jwyang.training_set(ground_truth, files, groups, transform, batch_size=batch_size, seed=seed)
        return grouped, FixedGroupSampler(grouped.groups, micro_batch_size=micro_batch_size, seed=seed)
    if schedule.transforms is not None:
        return _prepared_views(config, detector, ground_truth, files, micro_batch_size, masks)
    if schedule.multi_scale is not None and schedule.pipeline is not None:
        dataset = paddle.training_set(
            ground_truth,
            files,
            schedule.pipeline,
            multi_scale=schedule.multi_scale,
            transform=detector.transform,
            inclusive=bool(detector.protocol.get("boxes", {}).get("inclusive")),
            seed=seed,
            masks=masks,
        )
    elif schedule.multi_scale is not None:
        scales, crop = schedule.multi_scale, schedule.crop
        dataset = mmdet.training_set(ground_truth, files, multi_scale=scales, crop=crop, seed=seed, masks=masks)
    elif schedule.mosaic is not None and schedule.epochs is not None:
        settings, epochs = schedule.mosaic, schedule.epochs
        dataset = ultralytics.training_set(ground_truth, files, settings, epochs=epochs, seed=seed, masks=masks)
    else:
        raise ValueError(f"{schedule.name}: nothing says how training images are made")  # no schedule is built so
    sampler = AspectRatioBatchSampler(
        dataset.is_landscape,
        batch_size=batch_size,
        micro_batch_size=micro_batch_size,
        seed=seed,
        repeat=schedule.repeat,
        drop_last=schedule.drop_last,
    )
    return dataset, sampler


def _prepared_views(
    config: TrainConfig,
    detector: Detector,
    ground_truth: CocoGroundTruth,
    files: Sequence[Path],
    micro_batch_size: int,
    masks: bool,
) -> tuple[TrainingSet, BatchSampler]:
    """The same in torchvision's style."""
    schedule = config.recipe.schedule
    assert schedule.transforms is not None  # noqa: S101 - both are there, or none
    assert schedule.aspect_ratio_group_factor is not None  # noqa: S101 - likewise
    dataset = torchvision.training_set(
        ground_truth,
        files,
        schedule.transforms,
        transform=detector.transform,
        seed=config.seed,
        masks=masks,
        keypoints=detector.has_keypoints,
    )
    heights, widths = dataset.images.sizes.T
    return dataset, RatioBinSampler(
        heights / widths,
        factor=schedule.aspect_ratio_group_factor,
        batch_size=config.batch_size,
        micro_batch_size=micro_batch_size,
        seed=config.seed,
    )


def _trainer(
    config: TrainConfig,
    detector: Detector,
    lr_schedule: LRSchedule,
    sampler: BatchSampler,
    *,
    steps: int,
    init_from: str | Mapping[str, Any] = RANDOM_INIT,
    context: DistributedContext = DistributedContext(),  # noqa: B008 - immutable
) -> Trainer:
    schedule = config.recipe.schedule
    optimizer_config = dataclasses.replace(schedule.optimizer, lr=lr_schedule.base_lr)
    if schedule.accumulate_to is not None:
        decay = scaled_weight_decay(optimizer_config.weight_decay, config.batch_size, schedule.accumulate_to)
        optimizer_config = dataclasses.replace(optimizer_config, weight_decay=decay)
    return Trainer(
        detector,
        make_optimizer(detector, optimizer_config),
        lr_schedule,
        config,
        steps=steps,
        micro_batches=sampler.micro_batches_per_step,
        init_from=init_from,
        ema=ModelEma(detector, schedule.ema) if schedule.ema else None,
        context=context,
    )


def _batch_shape(detector: Detector, micro_batch: MicroBatch) -> Size:
    """Height and width of the images of a micro-batch with their padding."""
    return detector.normalizer.padding.batch_shape([sample for sample, _ in micro_batch])


def _summary(config: TrainConfig, sampler: BatchSampler, lr_schedule: LRSchedule) -> dict[str, Any]:
    schedule = config.recipe.schedule
    all_steps = schedule.total_steps(sampler.steps_per_epoch)
    return {
        "schedule": schedule.name,
        "epochs": schedule.epochs,
        "batch_size": config.batch_size,
        "recipe_batch_size": schedule.batch_size,
        "micro_batch_size": sampler.micro_batch_size,
        "precision": config.recipe.precision,
        "lr": lr_schedule.base_lr,
        "recipe_lr": schedule.optimizer.lr,
        "steps": min(config.max_steps or all_steps, all_steps),
        "steps_per_epoch": sampler.steps_per_epoch,
    }
