"""Learning rates agree with what mmdetection's schedules gave, to the last bit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from parity import GOLDEN

from zoo.catalog.entry import conf_dir
from zoo.config.compose import compose
from zoo.errors import UsageError
from zoo.train.rates import MultiStepLR, build_lr_schedule, scaled_lr
from zoo.train.schedule import Schedule

ENTRY = "mmdet_faster_rcnn_r50_fpn_1x"
GOLDENS: dict[str, Any] = json.loads((GOLDEN / "mmdet" / "lr_schedules.json").read_text(encoding="utf-8"))
OPTIONS = {
    "1x": "mmdet_1x",
    "2x": "mmdet_2x",
    "mstrain_2x": "mmdet_ms_2x",
    "dc5_mstrain_3x": "mmdet_dc5_ms_3x",
    "mstrain_3x_repeat": "mmdet_ms_3x",
    "1x_adamw": "mmdet_1x_adamw",
    "crop640_50e": "mmdet_crop640_50e",
    "retinanet_crop640_50e": "mmdet_crop640_50e",
}


def schedule(option: str) -> Schedule:
    return Schedule.from_mapping(compose(ENTRY, [f"schedule={option}"])["schedule"])


def test_every_golden_has_its_schedule() -> None:
    assert set(GOLDENS) == set(OPTIONS)


@pytest.mark.parametrize("name", OPTIONS)
def test_rates_are_the_published_ones(name: str) -> None:
    recipe, golden = schedule(OPTIONS[name]), GOLDENS[name]
    lr_schedule = build_lr_schedule(recipe, recipe.batch_size, golden["iterations_per_epoch"])
    assert [(i, lr_schedule(i)) for i, _ in golden["rates"]] == [tuple(row) for row in golden["rates"]]
    assert golden["rates"][-1][0] == recipe.total_steps(golden["iterations_per_epoch"]) - 1


@pytest.mark.parametrize("option", [path.stem for path in sorted((conf_dir() / "schedule").glob("mmdet_*.yaml"))])
def test_every_schedule_of_the_zoo_can_be_read(option: str) -> None:
    recipe = schedule(option)
    assert recipe.batch_size == 8 * (recipe.images_per_gpu or 0)


def test_without_warmup_the_full_rate_comes_first() -> None:
    assert MultiStepLR(base_lr=0.5, milestones=(1,), iterations_per_epoch=2)(0) == 0.5


def test_the_rate_is_in_proportion_to_the_batch() -> None:
    assert scaled_lr(0.02, 8, 16) == 0.01
    assert scaled_lr(0.1, 3, 3) == 0.1
    assert scaled_lr(0.02, 1, 16) == 0.00125


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": 3}, "unknown key 'epoch' \\(closest: epochs"),
        ({"epochs": None}, "one of epochs and iterations is the length"),
        ({"iterations": 9}, "one of epochs and iterations is the length"),
        ({"batch_size": None}, "missing batch_size"),
        ({"optimizer": {"name": "lion", "lr": 1.0, "weight_decay": 0.0}}, "schedule.optimizer.name: no 'lion'"),
        ({"optimizer": {"name": "sgd"}}, "schedule.optimizer: missing lr, weight_decay"),
        ({"warmup": {"kind": "cosine", "iterations": 1, "ratio": 0.1}}, "schedule.warmup.kind: no 'cosine'"),
    ],
)
def test_faulty_schedules_name_their_key(changes: dict[str, Any], message: str) -> None:
    block = compose(ENTRY)["schedule"] | changes
    with pytest.raises(UsageError, match=message):
        Schedule.from_mapping(block)
