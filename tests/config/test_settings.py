"""What a run is asked for: values are checked before anything is loaded, and changes to an entry are noticed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from zoo.config.compose import compose
from zoo.config.run_settings import RunSettings
from zoo.errors import UsageError

ENTRY = "mmdet_faster_rcnn_r50_fpn_1x"
CONFIG = compose(ENTRY)


def settings(overrides: tuple[str, ...] = (), **changes: Any) -> RunSettings:
    """Settings of a composed configuration with dotted keys changed (`data__limit` is data.limit)."""
    config = copy.deepcopy(CONFIG)
    for key, value in changes.items():
        *path, last = key.split("__")
        node = config
        for part in path:
            node = node[part]
        node[last] = value
    return RunSettings.from_config(config, overrides=overrides, run_dir=Path("run"), default_results=Path("results"))


def test_defaults() -> None:
    asked = settings()
    assert asked.entry.name == ENTRY
    assert asked.entry.parts["backbone"] == "resnet50"
    assert asked.measure == ("accuracy", "speed", "memory", "complexity")
    assert asked.batch_size == 1
    assert asked.asked.mode == "eager"
    assert asked.asked.data.root is None
    assert asked.results_dir == Path("results")
    assert len(asked.classes) == 80
    assert asked.identity.changes == asked.identity.conditions == ()
    assert asked.overrides == ()
    assert asked.train is None


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("measure", ["accuracy", "sped"], "measure: no 'sped' \\(closest: speed"),
        ("measure", [], "measure: \\[\\] names nothing"),
        ("precision", "fp8", "precision: 'fp8' is not fp32"),
        ("evaluator", "cocoapi", "evaluator: no 'cocoapi'"),
        ("mode", "graphs", "mode: no 'graphs' \\(closest: graph\\)"),
        ("mode", "compiled", "mode=compiled is not offered: torch.compile took longer than eager mode"),
        ("device", "gpu", "device: 'gpu' is not auto, cpu, cuda or cuda:N"),
        ("device", "cpu:1", "device: 'cpu:1'"),
        ("batch_size", 0, "batch_size: 0 is not a whole number, 1 or more"),
        ("batch_size", "many", "batch_size: 'many'"),
        ("batch_size", True, "batch_size: True"),
        ("workers", -1, "workers: -1"),
        ("data__limit", 0, "data.limit: 0"),
        ("speed__rounds", 2, "speed.rounds: 2 is not a whole number, 3 or more"),
        ("seed", 1.5, "seed: 1.5"),
    ],
)
def test_values_that_nothing_can_be_done_with(key: str, value: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        settings(**{key: value})
    assert caught.value.exit_status == 2
    assert caught.value.next_step


def test_one_measurement_needs_no_list() -> None:
    assert settings(measure="speed").measure == ("speed",)
    assert settings(measure="onnx_latency").measure == ("onnx_latency",)


@pytest.mark.parametrize(
    "override",
    [
        "backbone=resnet101",
        "backbone.depth=101",
        "head.roi_head.detections.score_threshold=0.1",
        "+neck.extra=1",
        "~loss",
        "protocol.transform.size_rule.long=1000",
        "entry.checkpoint.sha256_prefix='00000000'",
        "data.limit=5",
        "device=cpu",
        "precision=bf16",
        "batch_size=8",
        "mode=graph",
        "evaluator=pycocotools",
        "protocol.fold_batch_norm=true",
        "run=train",
        "run.max_steps=5",
    ],
)
def test_what_makes_another_run_is_repeated_in_the_record(override: str) -> None:
    assert settings(overrides=(override,)).overrides == (override,)
    assert settings(overrides=(override,)).new_record().overrides == [override]


@pytest.mark.parametrize(
    "override",
    [
        f"entry={ENTRY}",
        "data.root=/coco",
        "checkpoint.path=x.pth",
        "checkpoint.url=https://example.org/x.pth",
        "results.dir=/tmp",
        "measure=[speed]",
        "workers=4",
        "seed=3",
        "speed.images=1",
        "hydra.run.dir=run",
    ],
)
def test_how_it_is_carried_out_is_not(override: str) -> None:
    assert settings(overrides=(override,)).overrides == ()


def test_the_seed_of_a_training_is_repeated() -> None:
    config = compose(ENTRY, ["run=train", "seed=3"])
    overrides = ("run=train", "seed=3", "run.resume=true", "workers=4")
    found = RunSettings.from_config(config, overrides=overrides, run_dir=Path("run"), default_results=Path("results"))
    assert found.overrides == ("run=train", "seed=3")
    assert found.identity.conditions == ("seed=3",)


@pytest.mark.parametrize(
    ("given", "recorded"),
    [("/home/me/private/mine.pth", "mine.pth"), ("~/private/mine.pth", "mine.pth"), ("mine/a.pth", "mine/a.pth")],
)
def test_a_record_names_no_folder_of_the_machine(given: str, recorded: str) -> None:
    asked = settings(checkpoint__path=given, data__root=given, results__dir=given)
    config = asked.new_record().protocol.config
    assert config["checkpoint"] == {"path": recorded, "url": None, "classes": None}
    assert config["results"] == {"dir": recorded}
    assert config["data"] == {**CONFIG["data"], "root": recorded}, "what is relative to the root stays"
    assert asked.config["checkpoint"]["path"] == given


def test_the_record_before_anything_is_measured() -> None:
    record = settings(seed=3).new_record()
    assert (record.entry, record.zoo, record.status, record.seed) == (ENTRY, "mmdet", "failed", 3)
    assert (record.protocol.name, record.protocol.version) == ("mmdet", CONFIG["protocol"]["version"])
    assert record.protocol.config["data"] == CONFIG["data"]
    assert (record.checkpoint, record.data, record.hardware, record.parts) == (None, None, None, {})
