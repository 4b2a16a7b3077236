"""Rates and momentum of YOLOv8's recipe agree with what Ultralytics set, to the last bit."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from parity import GOLDEN

from zoo.catalog.entry import conf_dir
from zoo.config.compose import compose
from zoo.errors import UsageError
from zoo.train.rates import LinearLR, build_lr_schedule, scaled_weight_decay
from zoo.train.schedule import GroupWarmup, LinearDecay, Schedule

ENTRY = "mmdet_faster_rcnn_r50_fpn_1x"
GOLDENS: dict[str, Any] = json.loads((GOLDEN / "ultralytics" / "lr_schedules.json").read_text(encoding="utf-8"))


def schedule(option: str = "ultralytics_500e", *overrides: str) -> Schedule:
    return Schedule.from_mapping(compose(ENTRY, [f"schedule={option}", *overrides])["schedule"])


def published_schedule(recipe: Schedule) -> LinearLR:
    lr_schedule = build_lr_schedule(recipe, 16, GOLDENS["iterations_per_epoch"])
    assert isinstance(lr_schedule, LinearLR)
    return lr_schedule


def small_schedule(**changes: Any) -> LinearLR:
    """Warm-up over iterations 0 to 8, then four iterations to an optimiser step."""
    values: dict[str, Any] = {
        "base_lr": 0.1,
        "epochs": 10,
        "iterations_per_epoch": 4,
        "decay": LinearDecay(final=0.5),
        "warmup": GroupWarmup(kind="groups", epochs=2, min_iterations=1, bias_lr=0.3, momentum=0.5),
        "momentum": 0.9,
        "accumulation_steps": 4.0,
    }
    return LinearLR(**{**values, **changes})


def test_rates_of_weights_and_biases() -> None:
    lr_schedule = published_schedule(schedule())
    assert [[i, lr_schedule(i)] for i, _ in GOLDENS["weights"]] == GOLDENS["weights"]
    assert [[i, lr_schedule.bias_lr(i)] for i, _ in GOLDENS["biases"]] == GOLDENS["biases"]
    assert GOLDENS["weights"][-1][0] == 500 * GOLDENS["iterations_per_epoch"] - 1


def test_rates_of_the_first_release() -> None:
    lr_schedule = published_schedule(schedule("ultralytics_500e", "schedule.decay.epoch_offset=1"))
    assert [[i, lr_schedule(i)] for i, _ in GOLDENS["weights_v800"]] == GOLDENS["weights_v800"]


def test_momentum() -> None:
    lr_schedule = published_schedule(schedule())
    assert [[i, lr_schedule.momentum(i)] for i, _ in GOLDENS["momentum"]] == GOLDENS["momentum"]


def test_optimizer_steps_become_rarer() -> None:
    # Accumulated: 1, 1.375, 1.75, 2.125, ... 4 at iteration 8, rounded to 1 1 2 2 2 3 3 4 4 ("half to even" at 2.5).
    lr_schedule = small_schedule()
    assert [i for i in range(24) if lr_schedule.is_optimizer_step(i)] == [0, 1, 3, 6, 10, 14, 18, 22]


def test_without_accumulation_every_iteration_is_an_optimizer_step() -> None:
    assert all(small_schedule(accumulation_steps=0.5).is_optimizer_step(i) for i in range(24))


def test_a_warm_up_lasts_at_least_so_long() -> None:
    warmup = GroupWarmup(kind="groups", epochs=2, min_iterations=20, bias_lr=0.3, momentum=0.5)
    lr_schedule = small_schedule(warmup=warmup)
    assert lr_schedule.warmup_iterations == 20
    assert lr_schedule.bias_lr(0) == 0.3
    assert lr_schedule.momentum(10) == pytest.approx(0.7)
    # Iteration 20 is of epoch 5, half way down from 0.1 to 0.05.
    assert lr_schedule(20) == lr_schedule.bias_lr(20) == pytest.approx(0.075)


def test_the_rate_stays_when_the_batch_is_smaller_and_the_decay_is_in_proportion() -> None:
    recipe = schedule()
    assert recipe.accumulate_to == 64
    assert build_lr_schedule(recipe, 2, 100).base_lr == 0.01
    assert scaled_weight_decay(0.0005, 16, 64) == 0.0005
    assert scaled_weight_decay(0.0005, 128, 64) == 0.001
    assert scaled_weight_decay(0.0005, 24, 64) == pytest.approx(0.0005 * 72 / 64)


@pytest.mark.parametrize("option", [path.stem for path in sorted((conf_dir() / "schedule").glob("ultralytics_*.yaml"))])
def test_sizes_differ_in_copy_and_paste_alone(option: str) -> None:
    recipe, smallest = schedule(option), schedule()
    assert recipe.mosaic is not None
    assert smallest.mosaic is not None
    share = {"ultralytics_500e": 0.0, "ultralytics_500e_m": 0.1, "ultralytics_500e_l": 0.3}[option]
    assert recipe.mosaic == dataclasses.replace(smallest.mosaic, copy_paste=share)
    assert dataclasses.replace(recipe, name=smallest.name, mosaic=smallest.mosaic) == smallest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gradients": "median"}, "schedule.gradients: no 'median'"),
        ({"mosaic": None}, "one of multi_scale, mosaic, ratio_groups and transforms"),
        ({"epochs": None, "iterations": 9}, "decay and mosaic go by epochs"),
        ({"decay": None}, "a linear decay and a warm-up of the kind groups come together"),
        ({"milestones": [3]}, "the rate follows decay or milestones, not both"),
        ({"decay": "cosine", "warmup": None}, "a cosine decay comes with a warm-up of the kind chained"),
        ({"warmup": {"kind": "groups", "epochs": 3}}, "schedule.warmup: missing min_iterations, bias_lr, momentum"),
    ],
)
def test_faulty_schedules_name_their_key(changes: dict[str, Any], message: str) -> None:
    block = compose(ENTRY, ["schedule=ultralytics_500e"])["schedule"] | changes
    with pytest.raises(UsageError, match=message):
        Schedule.from_mapping(block)
