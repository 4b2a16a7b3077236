"""Every entry of the catalogue: schema, composition, and names and shapes against its checkpoint's key list."""

from __future__ import annotations

import re

import pytest
import torch
from parity import GOLDEN, manifest

from zoo.checkpoints.convert import convert
from zoo.checkpoints.hashes import published_prefix_from_name
from zoo.checkpoints.keymaps import key_map
from zoo.compose import build_model, compose
from zoo.entry import conf_dir, entry_names, read_entry
from zoo.models.layers.unfilled import Unfilled

CASES = {"mmdet_faster_rcnn_r50_fpn_1x": ("mmdet/faster_rcnn_r50_fpn_1x_coco", 41_753_056)}
"""Entry -> the key list of its architecture (tests/golden), and its number of parameters."""


def test_every_entry_has_a_key_list() -> None:
    assert set(CASES) == set(entry_names())
    assert all((GOLDEN / f"{case}.json").is_file() for case, _ in CASES.values())


@pytest.mark.parametrize("name", entry_names())
def test_schema(name: str) -> None:
    entry = read_entry(name)
    assert entry.published, "an entry without a published number has nothing to be diffed against"
    assert entry.cells("box_AP") or entry.cells("mask_AP")
    assert all(re.match(r"https?://", url) for url in entry.checkpoint.urls)
    for group, option in entry.parts.items():
        assert (conf_dir() / group / f"{option}.yaml").is_file(), f"{group}: {option}"
    announced = {published_prefix_from_name(url) for url in entry.checkpoint.urls} - {None}
    assert announced <= {entry.checkpoint.sha256_prefix}, "a mirror's name announces another hash"


@pytest.mark.parametrize("name", entry_names())
def test_keys_shapes_and_parameters(name: str) -> None:
    case, parameters = CASES[name]
    config = compose(name)
    with torch.device("meta"), Unfilled():
        detector = build_model(config, num_classes=80)
        checkpoint = {key: torch.empty(spec[1]) for key, spec in manifest(case)["tensors"].items()}
    expected = {key: tuple(value.shape) for key, value in detector.state_dict().items()}
    converted, report = convert(checkpoint, key_map(config["entry"]["checkpoint"]["keymap"]), expected)
    assert converted.keys() == expected.keys()
    assert report.dropped == {}
    assert sum(parameter.numel() for parameter in detector.parameters()) == parameters


@pytest.mark.parametrize("name", entry_names())
def test_files_stay_small(name: str) -> None:
    lines = (conf_dir() / "entry" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 30, "an entry says what is particular to it; the rest belongs into its parts"
