"""Learning rates agree with what the schedules of mmdetection and faster-rcnn.pytorch gave, to the last bit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from parity import GOLDEN

from zoo.catalog.entry import conf_dir
from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.errors import UsageError
from zoo.models.layers.skip_init import SkipInit
from zoo.train.optimizers import parameter_groups
from zoo.train.rates import MultiStepLR, build_lr_schedule, scaled_lr
from zoo.train.schedule import Schedule

ENTRY = "mmdet_faster_rcnn_r50_fpn_1x"
GOLDENS: dict[str, Any] = {
    name: golden
    for zoo in ("mmdet", "jwyang")
    for name, golden in json.loads((GOLDEN / zoo / "lr_schedules.json").read_text(encoding="utf-8")).items()
}
OPTIONS = {
    "1x": "mmdet_1x",
    "2x": "mmdet_2x",
    "mstrain_2x": "mmdet_ms_2x",
    "dc5_mstrain_3x": "mmdet_dc5_ms_3x",
    "mstrain_3x_repeat": "mmdet_ms_3x",
    "1x_adamw": "mmdet_1x_adamw",
    "crop640_50e": "mmdet_crop640_50e",
    "retinanet_crop640_50e": "mmdet_crop640_50e",
    "b16_e6": "jwyang_6e",
    "b16_e10": "jwyang_10e",
    "b24_e6": "jwyang_batch24_6e",
    "b24_e10": "jwyang_batch24_10e",
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


def of_zoo(zoo: str) -> list[str]:
    return [path.stem for path in sorted((conf_dir() / "schedule").glob(f"{zoo}_*.yaml"))]


@pytest.mark.parametrize("option", [*of_zoo("mmdet"), *of_zoo("jwyang")])
def test_every_schedule_of_the_zoo_can_be_read(option: str) -> None:
    recipe = schedule(option)
    assert recipe.batch_size == 8 * (recipe.images_per_gpu or 0)


@pytest.mark.parametrize("option", ["jwyang_6e", "jwyang_vgg16_6e"])
def test_jwyang_decays_no_biases(option: str) -> None:
    recipe, of_vgg = schedule(option), "vgg" in option
    with SkipInit("meta"):
        detector = build_model(compose("jwyang_faster_rcnn_r101_s800_6e"), ["cat"])
    groups = parameter_groups(detector, recipe.optimizer)
    assert [(g["weight_decay"], g["lr_mult"], g["biases"]) for g in groups] == [
        (0.0005 if of_vgg else 0.0001, 1.0, False),
        (0.0, 2.0 if of_vgg else 1.0, True),
    ]
    assert recipe.clip == (10.0 if of_vgg else None)
    assert recipe.optimizer.momentum == 0.9


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


def test_retinanet_on_fpg_lets_cudnn_choose() -> None:
    """Its published configuration inherits that from NAS-FPN's, as those of the two-stage detectors do not."""
    for entry, chosen in (
        ("retinanet_r50_fpg_chn128", True),
        ("retinanet_r50_fpg", True),
        ("mask_rcnn_r50_fpg", False),
    ):
        recipe = Schedule.from_mapping(compose(f"mmdet_{entry}_crop640_50e")["schedule"])
        assert recipe.cudnn_benchmark == chosen
