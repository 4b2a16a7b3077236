"""PaddleDetection's recipes: rates and lengths are the published ones, to the last bit; every row has one."""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from cases import ENTRIES
from parity import GOLDEN
from torch import nn

from zoo.catalog.entry import Checkpoint, entry_names
from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.data.sampler import AspectRatioBatchSampler
from zoo.models.layers.skip_init import SkipInit
from zoo.train.optimizers import parameter_groups
from zoo.train.rates import build_lr_schedule
from zoo.train.schedule import Schedule

GOLDENS: dict[str, Any] = json.loads((GOLDEN / "paddle" / "lr_schedules.json").read_text(encoding="utf-8"))
IMAGES = 117_266
"""Of train2017, with an object."""

ROWS = [name for name in entry_names() if name.startswith("paddle_")]
CASCADE = "paddle_cascade_rcnn_dcn_r50_vd_fpn_3x_server_side"
VB = "paddle_faster_rcnn_res2net50_vb_26w_4s_fpn_1x"
TWIN = (VB, "schedule.batch_size=8", "schedule.images_per_gpu=1")
"""The rows that version 2 has of the first dygraph zoo's models follow its own rates with 1 image a GPU."""


@functools.cache
def composed(entry: str, *overrides: str) -> Mapping[str, Any]:
    return compose(entry, overrides)


def recipe(entry: str, *overrides: str) -> Schedule:
    return Schedule.from_mapping(composed(entry, *overrides)["schedule"])


def recipe_of(case: str) -> Schedule:
    return recipe(*TWIN) if case.endswith("_v2") else recipe(ENTRIES[f"paddle/{case}"][0])


@pytest.mark.parametrize("case", GOLDENS)
def test_rates_are_the_published_ones(case: str) -> None:
    schedule, golden = recipe_of(case), GOLDENS[case]
    assert schedule.images_per_gpu is not None
    sampler = AspectRatioBatchSampler(
        np.ones(IMAGES, dtype=bool),
        batch_size=schedule.batch_size,
        micro_batch_size=schedule.images_per_gpu,
        seed=0,
        drop_last=schedule.drop_last,
    )
    assert sampler.steps_per_epoch == golden.get("steps_per_epoch", sampler.steps_per_epoch)
    assert schedule.total_steps(sampler.steps_per_epoch) == golden["total_iterations"]
    lr_schedule = build_lr_schedule(schedule, schedule.batch_size, sampler.steps_per_epoch)
    assert [[i, lr_schedule(i)] for i, _ in golden["rates"]] == golden["rates"]


def test_a_row_without_an_answer_has_the_rates_that_are_known_of_it() -> None:
    """1000 iterations from a tenth, at 0.02: ResNet-34 with 2 images a GPU."""
    schedule = recipe("paddle_faster_rcnn_r34_fpn_1x")
    lr_schedule = build_lr_schedule(schedule, 16, 7329)
    rates = [lr_schedule(i) for i in (0, 500, 1000, 8 * 7329 - 1, 8 * 7329, 11 * 7329)]
    assert rates == pytest.approx([0.002, 0.011, 0.02, 0.02, 0.002, 0.0002], rel=1e-12)
    assert schedule.total_steps(7329) == 87948


@pytest.mark.parametrize("entry", ROWS)
def test_every_row_has_a_recipe(entry: str) -> None:
    schedule = recipe(entry)
    assert schedule.batch_size == 8 * (schedule.images_per_gpu or 0)
    assert schedule.pipeline is not None
    assert Checkpoint.from_mapping(composed(entry)["initial"], "initial").format == "pdparams"


def rates_of(entry: str) -> dict[tuple[float, float], set[str]]:
    """(factor of the rate, decay) -> the names of the parameters."""
    config = composed(entry)
    with SkipInit("meta"):
        model: nn.Module = build_model(config, config["data"]["classes"])
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found: dict[tuple[float, float], set[str]] = defaultdict(set)
    for group in parameter_groups(model, recipe(entry).optimizer):
        key = (round(group["lr_mult"], 9), group["weight_decay"])
        found[key] |= {names[id(parameter)] for parameter in group["params"]}
    return found


@pytest.mark.parametrize("entry", ["paddle_faster_rcnn_r50_1x", "paddle_faster_rcnn_r34_fpn_1x"])
def test_the_first_dygraph_zoo_doubles_biases(entry: str) -> None:
    groups = rates_of(entry)
    assert groups.keys() == {(1.0, 1e-4), (2.0, 0.0)}
    assert {name for name in groups[2.0, 0.0] if not name.endswith(".bias")} == set()
    assert {name for name in groups[1.0, 1e-4] if name.endswith(".bias")} == set()
    assert {"rpn_head.conv.bias", "roi_head.stages.0.box_head.deltas.bias"} <= groups[2.0, 0.0]
    assert not any("norm" in name for names in groups.values() for name in names)  # stays as it was


def test_version_2_has_one_rate_and_decays_biases() -> None:
    groups = rates_of("paddle_mask_rcnn_res2net50_vd_26w_4s_fpn_2x")
    assert groups.keys() == {(1.0, 1e-4)}
    assert "roi_head.mask_head.logits.bias" in groups[1.0, 1e-4]


@pytest.mark.parametrize(
    "entry", ["paddle_faster_rcnn_enhance_3x", "paddle_cascade_rcnn_dcn_r50_vd_fpn_3x_server_side"]
)
def test_stages_of_the_backbone_learn_slower_and_offsets_do_not(entry: str) -> None:
    groups = rates_of(entry)
    for lr_mult, layers in ((0.05, {"layer2"}), (0.1, {"layer3"}), (0.15, {"layer4"})):  # layer1 is frozen
        names = groups[lr_mult, 1e-4]
        assert {name.split(".")[1] for name in names} == layers
        assert {name.rpartition(".conv.")[2] for name in names} == {"weight"}
    offsets = {name for name in groups[1.0, 1e-4] if name.startswith("backbone.")}
    assert {name.split(".")[4] for name in offsets} == {"conv_offset"}
    assert len(offsets) == 2 * (4 + 6 + 3)


def test_later_heads_of_a_cascade_learn_faster() -> None:
    groups = rates_of(CASCADE)
    head = "roi_head.stages.{}.box_head.logits.{}"
    for stage, lr_mult in enumerate((1.0, 2.0, 4.0)):
        assert head.format(stage, "weight") in groups[lr_mult, 1e-4]
        assert head.format(stage, "bias") in groups[2 * lr_mult, 0.0]
