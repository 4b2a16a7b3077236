"""Every entry of the catalogue: schema, composition, and names and shapes against its checkpoint's key list."""

from __future__ import annotations

import re

import pytest
import torch
from parity import GOLDEN, manifest

from zoo.checkpoints.convert import convert
from zoo.checkpoints.hashes import published_prefix_from_name
from zoo.checkpoints.keymaps import key_map
from zoo.checkpoints.obtain import obtain
from zoo.checkpoints.readers import read
from zoo.compose import build_model, compose
from zoo.entry import Entry, conf_dir, entry_names, read_entry
from zoo.models.layers.unfilled import Unfilled
from zoo.record import results_dir

PARAMETERS = {
    "mmdet_faster_rcnn_r50_fpn_1x": 41_753_056,
    "shapes_faster_rcnn_r10_fpn": 932_734,
    "shapes_retinanet_r10_fpn": 634_410,
}

CASES = {"mmdet_faster_rcnn_r50_fpn_1x": "mmdet/faster_rcnn_r50_fpn_1x_coco"}
"""Entry -> the key list of its architecture (tests/golden); embedded checkpoints are their own."""


def checkpoint_shapes(entry: Entry) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor in an entry's checkpoint, by its key there."""
    if entry.name in CASES:
        return {key: tuple(spec[1]) for key, spec in manifest(CASES[entry.name])["tensors"].items()}
    file = obtain(entry.checkpoint, results_dir()).path
    return {key: tuple(tensor.shape) for key, tensor in read(file, entry.checkpoint.format).items()}


def test_every_entry_is_accounted_for() -> None:
    assert set(PARAMETERS) == set(entry_names())
    assert all((GOLDEN / f"{case}.json").is_file() for case in CASES.values())


@pytest.mark.parametrize("name", entry_names())
def test_schema(name: str) -> None:
    entry = read_entry(name)
    assert entry.published, "an entry without a published number has nothing to be diffed against"
    assert entry.cells("box_AP") or entry.cells("mask_AP")
    assert all(re.match(r"https?://|package:", url) for url in entry.checkpoint.urls)
    for group, option in entry.parts.items():
        assert (conf_dir() / group / f"{option}.yaml").is_file(), f"{group}: {option}"
    announced = {published_prefix_from_name(url) for url in entry.checkpoint.urls} - {None}
    assert announced <= {entry.checkpoint.sha256_prefix}, "a mirror's name announces another hash"


@pytest.mark.parametrize("name", entry_names())
def test_keys_shapes_and_parameters(name: str) -> None:
    entry, config = read_entry(name), compose(name)
    shapes = checkpoint_shapes(entry)
    with torch.device("meta"), Unfilled():
        detector = build_model(config, num_classes=len(config["entry"].get("classes") or config["data"]["classes"]))
        checkpoint = {key: torch.empty(shape) for key, shape in shapes.items()}
    expected = {key: tuple(value.shape) for key, value in detector.state_dict().items()}
    converted, report = convert(checkpoint, key_map(entry.checkpoint.keymap), expected)
    assert converted.keys() == expected.keys()
    assert report.dropped == {}
    assert sum(parameter.numel() for parameter in detector.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", entry_names())
def test_files_stay_small(name: str) -> None:
    lines = (conf_dir() / "entry" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 30, "an entry says what is particular to it; the rest belongs into its parts"
