"""torchvision's key maps against the keys of the installed models, and against the names of older files."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
import torch
import torchvision_originals as originals
from torch import Tensor

from zoo.catalog.entry import read_entry
from zoo.catalog.keys import KeyList, find_key_list
from zoo.checkpoints.convert import COUNTED, convert
from zoo.checkpoints.keymaps import key_map
from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.models.detectors.base import Detector
from zoo.models.layers.skip_init import SkipInit

ENTRIES = originals.entries()

BEFORE_0_13 = {
    r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.0\.(\w+)": r"\1.\2",
    r"(rpn\.head\.conv)\.0\.0\.(\w+)": r"\1.\2",
}
"""Name since torchvision 0.13 -> name before: what its models still read."""

OLDER = [name for name in ENTRIES if "_fpn" in name and not name.endswith("_v2")]
"""The entries with such layers; those of version 2 are younger."""


def old_name(key: str) -> str:
    if match := re.fullmatch(r"roi_heads\.mask_head\.(\d)\.0\.(\w+)", key):
        return f"roi_heads.mask_head.mask_fcn{int(match[1]) + 1}.{match[2]}"
    if match := re.fullmatch(r"(head\.(?:classification|regression)_head\.conv)\.(\d)\.0\.(\w+)", key):
        return f"{match[1]}.{2 * int(match[2])}.{match[3]}"
    for pattern, name in BEFORE_0_13.items():
        if match := re.fullmatch(pattern, key):
            return match.expand(name)
    return key


def model_of(name: str) -> Detector:
    config = compose(name)
    with SkipInit("meta"):
        return build_model(config, read_entry(name).classes)


def shapes_of(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}


def numbered(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """A tensor of each shape, filled with the number of its key, without memory for it."""
    return {key: torch.tensor(float(i)).expand(shape) for i, (key, shape) in enumerate(shapes.items())}


@pytest.mark.parametrize("name", ENTRIES)
def test_every_key_of_the_installed_model_has_its_place(name: str) -> None:
    entry, model, original = read_entry(name), model_of(name), originals.without_storage(name)
    shapes, expected = shapes_of(original), shapes_of(model)
    converted, report = convert(numbered(shapes), key_map(entry.checkpoint.keymap), expected)
    assert converted.keys() == expected.keys()
    assert report.loaded == len(shapes)
    assert not report.dropped
    assert set(report.fresh) <= {COUNTED}
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert parameters == originals.published_weights(name).meta["num_params"]
    stored = find_key_list(entry)
    assert stored is not None
    keys = KeyList.read(stored)
    assert (dict(keys.shapes), keys.parameters) == (shapes, parameters)


@pytest.mark.parametrize("name", OLDER)
def test_older_names_are_read_as_the_installed_model_reads_them(name: str) -> None:
    original = originals.without_storage(name)
    tensors = numbered(shapes_of(original))
    older = {old_name(key): tensor for key, tensor in tensors.items()}
    assert older.keys() != tensors.keys()
    original.load_state_dict(older, strict=True, assign=True)  # the original accepts these names too
    assert all(torch.equal(tensor, tensors[key]) for key, tensor in original.state_dict().items())
    table, expected = key_map(read_entry(name).checkpoint.keymap), shapes_of(model_of(name))
    ours, new = convert(older, table, expected)[0], convert(tensors, table, expected)[0]
    assert {key: tensor.max() for key, tensor in ours.items()} == {key: tensor.max() for key, tensor in new.items()}
