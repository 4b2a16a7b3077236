"""How the recipe and the data of a training are put together."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_training import SCHEDULE, TinyDetector

from zoo.data.augment.settings import RatioGroups
from zoo.data.coco import CocoGroundTruth
from zoo.data.sampler import AspectRatioBatchSampler
from zoo.errors import UsageError
from zoo.runtime.distributed import DistributedContext
from zoo.train.config import Recipe, TrainConfig
from zoo.train.rates import build_lr_schedule
from zoo.train.schedule import EmaConfig, Schedule
from zoo.train.trainer import Trainer
from zoo.train.training import _trainer, resolve_micro_batch_size, train


def config_of(schedule: Schedule, batch_size: int = 2, micro_batch_size: int | None = None) -> TrainConfig:
    recipe = Recipe(schedule=schedule, initial=None, precision="fp32", loss_scale=None)
    return TrainConfig(
        recipe=recipe, batch_size=batch_size, micro_batch_size=micro_batch_size, seed=1, run_dir=Path("run")
    )


def trainer_of(config: TrainConfig) -> Trainer:
    sampler = AspectRatioBatchSampler(np.ones(48, dtype=bool), batch_size=config.batch_size, micro_batch_size=1, seed=0)
    schedule = config.recipe.schedule
    lr_schedule = build_lr_schedule(schedule, config.batch_size, sampler.steps_per_epoch, scale_lr=config.scale_lr)
    return _trainer(config, TinyDetector(), lr_schedule, sampler, steps=1)


@pytest.mark.parametrize(
    ("batch_size", "world_size", "asked", "images"),
    [(16, 1, None, 2), (16, 8, None, 2), (16, 16, None, 1), (5, 1, None, 1), (16, 1, 16, 16), (16, 4, 4, 4)],
)
def test_images_of_a_micro_batch(batch_size: int, world_size: int, asked: int | None, images: int) -> None:
    config = config_of(dataclasses.replace(SCHEDULE, images_per_gpu=2), batch_size, asked)
    assert resolve_micro_batch_size(config, world_size) == images


def test_batches_that_do_not_split() -> None:
    with pytest.raises(UsageError, match="16 images do not split evenly over 3 processes"):
        resolve_micro_batch_size(config_of(SCHEDULE, batch_size=16), 3)
    with pytest.raises(UsageError, match="do not split into micro-batches of 3"):
        resolve_micro_batch_size(config_of(SCHEDULE, batch_size=16, micro_batch_size=3), 1)


def test_the_optimizer_has_the_rate_and_decay_of_the_batch() -> None:
    (group, norms) = trainer_of(config_of(SCHEDULE, batch_size=6)).optimizer.param_groups
    assert group["lr"] == norms["lr"] == pytest.approx(3 * 0.05)
    assert group["weight_decay"] == norms["weight_decay"] == 0.0001
    # 24 images three times are 72 of the 64 that the recipe accumulates; the rate stays.
    accumulating = dataclasses.replace(SCHEDULE, accumulate_to=64)
    (group, norms) = trainer_of(config_of(accumulating, batch_size=24)).optimizer.param_groups
    assert (group["lr"], norms["lr"]) == (0.05, 0.05)
    assert group["weight_decay"] == norms["weight_decay"] == pytest.approx(0.0001 * 72 / 64)


def test_the_trainer_follows_the_recipe() -> None:
    plain = trainer_of(config_of(SCHEDULE))
    assert plain.ema is None
    assert plain.micro_batches == 2
    averaging = trainer_of(config_of(dataclasses.replace(SCHEDULE, ema=EmaConfig(decay=0.7, warmup=3))))
    assert averaging.ema is not None
    assert averaging.ema.config == EmaConfig(decay=0.7, warmup=3)


GROUPED = dataclasses.replace(
    SCHEDULE, epochs=1, multi_scale=None, ratio_groups=RatioGroups(narrowest=0.5, widest=2.0, max_objects=50)
)


def trained(coco: Path, folder: Path, detector: TinyDetector) -> dict[str, Any]:
    truth = CocoGroundTruth.load(coco / "annotations" / "instances_val2017.json")
    files = [coco / "val2017" / name for name in truth.file_names]
    config = dataclasses.replace(config_of(GROUPED, batch_size=2), run_dir=folder)
    context = DistributedContext()
    return train(config, detector, truth, files, init_from="", workers=0, context=context, evaluate=lambda _: None)


def test_images_in_fixed_groups_are_resized_as_in_the_evaluation(tiny_coco: Path, tmp_path: Path) -> None:
    done = trained(tiny_coco, tmp_path, TinyDetector())
    assert (done["steps_per_epoch"], done["steps"], done["images"]) == (3, 3, 3)
    assert len((tmp_path / "metrics.csv").read_text(encoding="utf-8").splitlines()) == 4


def test_images_in_fixed_groups_have_no_masks(tiny_coco: Path, tmp_path: Path) -> None:
    class WithMasks(TinyDetector):
        has_masks = True

    with pytest.raises(UsageError, match="have no masks"):
        trained(tiny_coco, tmp_path, WithMasks())
