"""Identity: every key of the configuration has one role, and resolved values decide, not what was written."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from zoo.catalog.entry import conf_dir
from zoo.config.compose import PART_GROUPS, compose
from zoo.config.run_settings import RunSettings
from zoo.files import PROJECT
from zoo.results.identity import (
    ROLES,
    SCHEME,
    Identity,
    Role,
    bare_leaves,
    changed_keys,
    digest,
    file_stem,
    identify,
    role_of,
    slug,
)
from zoo.results.record import Record

RECORDS = PROJECT / "results" / "records"

R50 = "mmdet_faster_rcnn_r50_fpn_1x"
YOLO = "shapes_yolov8_p"

ROW = {
    "run.max_steps",
    "protocol.name",
    "protocol.version",
    "protocol.transform._target_",
    "protocol.transform.size_rule._target_",
    "protocol.transform.size_rule.long",
    "protocol.transform.size_rule.short",
    "protocol.transform.size_rule.stride",
    "protocol.transform.size_rule.pad",
    "protocol.transform.size_rule.round_before_limit",
    "protocol.transform.size_rule.rounding",
    "protocol.transform.size_rule.height",
    "protocol.transform.size_rule.width",
    "protocol.transform.decoder._target_",
    "protocol.transform.resampler._target_",
    "protocol.transform.normalizer._target_",
    "protocol.transform.normalizer.mean",
    "protocol.transform.normalizer.std",
    "protocol.transform.normalizer.divisor",
    "protocol.normalize._target_",
    "protocol.normalize.mean",
    "protocol.normalize.std",
    "protocol.normalize.channels",
    "protocol.normalize.divisor",
    "protocol.normalize.extent",
    "protocol.normalize.training_extent",
    "protocol.normalize.padding._target_",
    "protocol.normalize.padding.divisor",
    "protocol.normalize.padding.fill",
    "protocol.boxes._target_",
    "protocol.boxes.inclusive",
    "protocol.batching._target_",
    "protocol.batching.group_size",
    "protocol.rounding.box",
    "protocol.rounding.score",
    "protocol.complexity.size",
    "protocol.complexity.counter",
}
CONDITION = {
    "checkpoint.classes",
    "device",
    "precision",
    "batch_size",
    "mode",
    "evaluator",
    "protocol.fold_batch_norm",
    "protocol.channels_last",
    "data.name",
    "data.split",
    "data.num_images",
    "data.limit",
    "data.classes",
    "data.annotations_sha256.val2017",
    "data.annotations_sha256.train2017",
    "data.annotations_sha256.val",
    "data.annotations_sha256.train",
    "data.train.split",
    "data.train.limit",
    "run.name",
    "run.micro_batch_size",
    "run.scale_lr",
}
EXECUTION = {
    "name",
    *(f"data.annotations_size.{split}" for split in ("val2017", "train2017", "val", "train")),
    "measure",
    "resume",
    "image_cache_gb",
    "sweep.timeout_min",
    "sweep.gpus",
    "sweep.interleave",
    "workers",
    "checkpoint.path",
    "checkpoint.url",
    "results.dir",
    "data.root",
    "data.annotations",
    "data.images",
    "data.train.annotations",
    "data.train.images",
    "run.resume",
    "run.checkpoint_every",
    "run.evaluate_every",
}
SPEED = {"speed.warmup", "speed.images", "speed.rounds"}
TABLE = {
    **dict.fromkeys(ROW, Role.ROW),
    **dict.fromkeys(CONDITION, Role.CONDITION),
    **dict.fromkeys(EXECUTION, Role.EXECUTION),
    **dict.fromkeys(SPEED, Role.SPEED),
    "seed": Role.EXECUTION,
}
"""The role of every key of an evaluation; in a training the seed is a condition."""


def leaves(node: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """The dotted keys of a YAML document."""
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        elif key != "defaults":
            yield f"{prefix}{key}"


def read(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")) or {})


def every_key() -> list[str]:
    """The keys of conf/config.yaml, and of every option of the groups data, run and protocol."""
    config = {key: value for key, value in read(conf_dir() / "config.yaml").items() if key not in ("defaults", "hydra")}
    found = list(leaves(config, ""))
    for group in ("data", "run", "protocol"):
        for path in sorted((conf_dir() / group).glob("*.yaml")):
            of_the_whole = "@package _global_" in path.read_text(encoding="utf-8")
            found += leaves(read(path), "" if of_the_whole else f"{group}.")
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("key", every_key())
def test_every_key_has_its_role(key: str) -> None:
    assert key in TABLE, "a new key needs a role: in zoo.results.identity.ROLES, and in this table"
    assert role_of(key) is TABLE[key]
    assert role_of(key, training=True) is (Role.CONDITION if key == "seed" else TABLE[key])


def test_the_table_names_no_key_that_is_gone() -> None:
    assert TABLE.keys() <= set(every_key())


def test_every_group_of_the_configuration_is_known() -> None:
    groups = {path.name for path in conf_dir().iterdir() if path.is_dir()}
    assert groups == {*PART_GROUPS, "data", "run", "entry", "keys", "zoo", "hydra"}
    assert set(ROLES) - {"protocol"} >= set(PART_GROUPS) - {"protocol"}


@pytest.mark.parametrize("group", sorted(set(PART_GROUPS) - {"protocol"}))
def test_every_part_makes_the_row(group: str) -> None:
    options = sorted((conf_dir() / group).glob("*.yaml"))
    keys = {key for path in options for key in read(path) if key != "defaults"}
    assert options
    assert keys or group == "head", "heads are made of other heads"
    assert {role_of(f"{group}.{key}") for key in keys} <= {Role.ROW}
    assert role_of(group) is Role.ROW


def test_a_key_without_a_role_is_an_error() -> None:
    with pytest.raises(KeyError, match="tempo"):
        role_of("tempo.of_a_kind")


# --- a run next to its row ------------------------------------------------------------------------


@cache
def identity(entry: str, *overrides: str) -> Identity:
    """The identity of a run of an entry, as the settings make it."""
    config = compose(entry, overrides)
    settings = RunSettings.from_config(config, overrides=overrides, run_dir=Path("run"), default_results=Path("r"))
    return settings.identity


def test_the_row_itself() -> None:
    own = identity(R50)
    assert (own.changes, own.conditions, own.unlike_published) == ((), (), ())
    assert own.row is not None
    assert len(own.row) == 64
    condition = dict(own.condition)
    for key in ("data.classes", "data.annotations_sha256.val2017", "data.annotations_sha256.train2017"):
        digest = condition.pop(key)
        assert isinstance(digest, str)
        assert len(digest) == 64
    assert condition == {
        "data.name": "coco2017",
        "data.split": "val2017",
        "data.num_images": 5000,
        "protocol.fold_batch_norm": False,
        "protocol.channels_last": False,
        "run.name": "evaluate",
        "precision": "fp32",
        "batch_size": 1,
        "evaluator": "vectorized",
    }
    assert own.on("cuda").condition["device"] == "cuda"
    assert own.on("cuda").conditions == ()


@pytest.mark.parametrize(
    "override",
    [
        "backbone=resnet50",
        "neck=fpn",
        "precision=fp32",
        "batch_size=1",
        "mode=eager",
        "evaluator=vectorized",
        "data=coco2017",
        "data.split=val2017",
        "protocol.fold_batch_norm=false",
        "protocol.transform.size_rule.long=1333",
        "run=evaluate",
        "seed=7",
        "workers=3",
        "measure=[speed]",
        "device=cpu",
        "data.root=/coco",
        "checkpoint.url=https://example.org/w-00000000.pth",
        "checkpoint.path=mine.pth",
        "results.dir=/tmp/results",
        "speed.images=3",
        "speed.rounds=9",
        "data.train.limit=5",  # nothing is trained
    ],
)
def test_what_makes_no_difference(override: str) -> None:
    assert identity(R50, override) == identity(R50)


@pytest.mark.parametrize(
    ("override", "condition"),
    [
        ("precision=bf16", "precision=bf16"),
        ("batch_size=8", "batch_size=8"),
        ("mode=graph", "mode=graph"),
        ("data.split=train2017", "data.split=train2017"),
        ("data.limit=20", "data.limit=20"),
        ("evaluator=pycocotools", "evaluator=pycocotools"),
        ("protocol.fold_batch_norm=true", "protocol.fold_batch_norm=true"),
        ("protocol.channels_last=true", "protocol.channels_last=true"),
    ],
)
def test_a_condition_leaves_the_row_as_it_is(override: str, condition: str) -> None:
    own, other = identity(R50), identity(R50, override)
    assert other.row == own.row
    assert (other.changes, other.conditions) == ((), (condition,))
    assert other.condition != own.condition
    compared = condition.startswith("evaluator")
    assert other.unlike_published == (() if compared else (condition,))


def test_a_run_from_before_the_mode_was_a_setting_is_one_in_eager_mode() -> None:
    """Its identity, and so its name and its place, are what they were."""
    own = compose(R50)
    before = {key: value for key, value in own.items() if key != "mode"}
    assert own["mode"] == "eager"
    assert identify(own, own) == identify(before, before) == identify(own, before)
    assert "mode" not in identify(own, own).condition
    assert changed_keys(before, own) == ()
    graphs = identify({**own, "mode": "graph"}, before)
    assert (graphs.conditions, graphs.condition["mode"]) == (("mode=graph",), "graph")
    assert file_stem(R50, graphs.conditions) == f"{R50}+mode-graph"
    assert changed_keys(before, {**own, "mode": "graph"}) == ("mode",)
    assert identify(own, {**own, "mode": "graph"}).conditions == ("mode=eager",)


@pytest.mark.parametrize("path", sorted(RECORDS.glob("*/*.json")), ids=lambda path: path.stem)
def test_the_identity_of_every_committed_record_is_that_of_its_row_today(path: Path) -> None:
    recorded = Record.read(path).identity
    assert recorded == identity(path.stem).on("cpu")


def test_what_a_training_is_evaluated_in_leaves_its_recipe_as_it_is() -> None:
    graphs = identity(YOLO, "run=train", "mode=graph")
    assert (graphs.trials, graphs.conditions) == ((), ("mode=graph",))


def test_what_is_the_rows_own_is_no_condition() -> None:
    folded = identity(YOLO, "protocol.fold_batch_norm=true")
    assert folded == identity(YOLO)
    assert identity(YOLO, "protocol.fold_batch_norm=false").conditions == ("protocol.fold_batch_norm=false",)


@pytest.mark.parametrize(
    ("override", "changes"),
    [
        ("backbone.depth=101", ("backbone.depth=101",)),
        ("protocol.transform.size_rule.long=1000", ("protocol.transform.size_rule.long=1000",)),
        ("+backbone.extra=1", ("backbone.extra=1",)),
        ("initial=null", None),
        ("neck=fpn64", ("neck.channels=64",)),
        ("entry.checkpoint.sha256_prefix='00000000'", ("entry.checkpoint.sha256_prefix=00000000",)),
    ],
)
def test_a_change_of_the_row_is_named(override: str, changes: tuple[str, ...] | None) -> None:
    other = identity(R50, override)
    assert other.conditions == ()
    if changes is None:
        assert {change.split("=")[0].split(".")[0] for change in other.changes} == {"initial"}
        assert all(change.endswith("=null") for change in other.changes)
    else:
        assert other.changes == changes
    described = override.startswith("entry.")
    assert (other.row == identity(R50).row) is described, "what describes the row is no part of its composition"


def test_the_classes_of_an_entry_make_the_row() -> None:
    assert identity(R50, "+entry.classes=[person]").row != identity(R50).row


def test_trainings_are_identified_by_their_recipe_and_seed() -> None:
    own = identity(YOLO, "run=train")
    assert own.condition["data.annotations_sha256.val"] == compose(YOLO)["data"]["annotations_sha256"]["val"]
    shown = {key: value for key, value in own.condition.items() if "sha256" not in key}
    assert {**shown, "data.classes": ""} == {
        "data.name": "shapes",
        "data.split": "val",
        "data.num_images": 200,
        "data.classes": "",
        "data.train.split": "train",
        "protocol.fold_batch_norm": True,
        "protocol.channels_last": False,
        "run.name": "train",
        "run.micro_batch_size": 8,
        "run.scale_lr": True,
        "precision": "fp32",
        "batch_size": 8,
        "evaluator": "vectorized",
        "seed": 0,
    }
    assert (own.row, own.changes, own.conditions) == (identity(YOLO).row, (), ())
    for same in ("batch_size=8", "run.micro_batch_size=8", "run.resume=true", "run.checkpoint_every=7"):
        assert identity(YOLO, "run=train", same) == own
    other = identity(YOLO, "run=train", "seed=1", "batch_size=4", "data.train.limit=9")
    assert other.row == own.row
    assert other.conditions == ("data.train.limit=9", "batch_size=4", "seed=1")
    short = identity(YOLO, "run=train", "run.max_steps=5")
    assert (short.changes, short.conditions) == (("run.max_steps=5",), ())
    assert short.row != own.row


def test_moving_a_class_changes_nothing() -> None:
    own = compose(R50)
    moved = _moved(copy.deepcopy(own))
    assert moved != own
    assert identify(moved, own) == identify(own, own)
    assert digest({"loss": {"_target_": "a.b.GIoULoss"}}) == digest({"loss": {"_target_": "c.GIoULoss"}})
    assert digest({"loss": {"_target_": "a.b.GIoULoss"}}) != digest({"loss": {"_target_": "a.b.IoULoss"}})


def _moved(node: Any) -> Any:
    """A configuration whose classes all lie in another module."""
    if isinstance(node, dict):
        return {
            key: f"elsewhere.{value.rsplit('.', 1)[-1]}" if key == "_target_" else _moved(value)
            for key, value in node.items()
        }
    return [_moved(value) for value in node] if isinstance(node, list) else node


def test_the_order_of_keys_does_not_matter() -> None:
    assert digest({"a": 1, "b": {"c": 2, "d": 3}}) == digest({"b": {"d": 3, "c": 2}, "a": 1})
    assert digest({"a": [1, 2]}) != digest({"a": [2, 1]})


def test_file_names_are_readable() -> None:
    assert file_stem("mmdet_a", ()) == "mmdet_a"
    conditions = ("protocol.fold_batch_norm=True", "precision=bf16")
    assert file_stem("mmdet_a", conditions) == "mmdet_a+fold_batch_norm-true+precision-bf16"
    assert slug('head.scales=[1, "a/b"]') == "scales-_1_a_b"


def test_three_changes_are_all_named() -> None:
    assert Identity(changes=("a=1", "b=2", "c=3"), conditions=("d=4",)).differences == ("a=1", "b=2", "c=3", "d=4")
    assert Identity(changes=("a=1", "b=2", "c=3", "e=5")).differences == ("a=1", "b=2", "c=3", "1 more changes")


def test_another_scheme_gives_other_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest({"a": 1})
    monkeypatch.setattr("zoo.results.identity.SCHEME", SCHEME + 1)
    assert digest({"a": 1}) != before


def test_a_key_that_only_begins_like_a_group_is_not_in_it() -> None:
    found = identify({"run": {"name": "evaluate"}, "data": {"train": {"name": "x"}, "training": "y"}}, {})
    assert {key for key in found.condition if key.startswith("data")} == {"data.training"}


def test_an_empty_group_is_a_value() -> None:
    assert bare_leaves({"a": {"b": {}, "c": None, "d": 1}}) == {"a.b": {}, "a.d": 1}
