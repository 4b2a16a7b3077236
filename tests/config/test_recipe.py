"""How an entry is trained, as data: precision, loss scale, the file it begins with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from zoo.config.compose import compose
from zoo.config.run_settings import RunSettings
from zoo.errors import UsageError
from zoo.train.config import Recipe

PLAIN = "mmdet_faster_rcnn_r50_fpn_1x"


def settings(*overrides: str, **changes: Any) -> RunSettings:
    config = compose(PLAIN, overrides) | changes
    return RunSettings.from_config(config, overrides=(), run_dir=Path("run"), default_results=Path("results"))


def recipe(*overrides: str) -> Recipe:
    found = settings("run=train", *overrides)
    assert found.train is not None
    assert found.train.recipe is found.recipe
    assert found.recipe is not None
    return found.recipe


@pytest.mark.parametrize(
    ("overrides", "evaluation", "training", "scale"),
    [
        ([], "fp32", "fp32", None),
        (["schedule=mmdet_1x_amp"], "fp32", "fp16", 512),
        (["schedule=mmdet_1x_amp", "precision=fp16"], "fp16", "fp16", 512),
        (["schedule=mmdet_1x_amp", "precision=fp32"], "fp32", "fp32", None),
        (["schedule=mmdet_1x_amp", "precision=bf16"], "bf16", "bf16", None),
        (["precision=fp16"], "fp16", "fp16", None),
    ],
)
def test_precision_is_the_recipes_unless_asked_for(
    overrides: list[str], evaluation: str, training: str, scale: float | None
) -> None:
    assert settings(*overrides).precision == evaluation
    trained = recipe(*overrides)
    assert (trained.precision, trained.loss_scale) == (training, scale)


def test_the_file_to_begin_with() -> None:
    initial = recipe().initial
    assert initial is not None
    assert initial.sha256_prefix == "0676ba61"
    assert recipe("initial=null").initial is None


def test_faulty_recipes_are_named() -> None:
    with pytest.raises(UsageError, match="precision: no 'fp15'"):
        settings("schedule.precision=fp15")
    with pytest.raises(UsageError, match="initial: unknown key 'url'"):
        settings(initial={"url": "x"})
    with pytest.raises(UsageError, match="has no schedule to be trained by"):
        settings("run=train", schedule=None)
    assert settings(schedule=None).recipe is None


def test_the_identity_of_a_training_holds_bare_names() -> None:
    train = settings("run=train", "seed=3").train
    assert train is not None
    assert set(train.identity) == {"detector", "backbone", "neck", "head", "loss", "schedule", "initial"}
    assert train.identity["backbone"]["_target_"] == "ResNet"
    assert "zoo." not in json.dumps(train.identity)
    assert (train.seed, train.run_dir, train.batch_size) == (3, Path("run"), 16)
