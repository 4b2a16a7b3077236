"""The torchvision zoo: every entry says what the installed package's own `meta` says."""

from __future__ import annotations

import pytest
import torchvision_originals as originals
from torchvision.models import detection as package
from torchvision.models import get_model_weights, list_models

from zoo.catalog.entry import Entry, read_entry

METRICS = {"box_map": "box_AP", "mask_map": "mask_AP", "kp_map": "keypoint_AP"}
"""Name in the package's `_metrics` -> published metric."""

ENTRIES = originals.entries()


def test_every_published_file_of_the_installed_package_has_a_row() -> None:
    published = [weights for model in list_models(module=package) for weights in get_model_weights(model)]
    assert len(published) == len(ENTRIES) == 13
    assert {originals.published_weights(name) for name in ENTRIES} == set(published)


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_says_what_the_installed_package_says(name: str) -> None:
    weights, entry = originals.published_weights(name), read_entry(name)
    attribute = f"{type(weights).__name__}.{weights.name}"
    assert entry.upstream == attribute
    meta = weights.meta
    (metrics,) = meta["_metrics"].values()
    expected = {
        **{METRICS[key]: str(value) for key, value in metrics.items()},
        "params": str(meta["num_params"]),
        "gmacs": str(meta["_ops"]),
        "file_size_mib": str(meta["_file_size"]),
    }
    assert {cell.metric: cell.text for cell in entry.published} == expected
    assert {cell.source for cell in entry.published} == {f"torchvision 0.26 {attribute}.meta"}
    assert entry.checkpoint.urls == (weights.url,)


@pytest.mark.parametrize("name", ENTRIES)
def test_a_file_is_known_by_the_hash_in_its_name(name: str) -> None:
    checkpoint = read_entry(name).checkpoint
    (url,) = checkpoint.urls
    prefix = url.removesuffix(".pth").rpartition("-")[2]
    assert len(prefix) == 8
    assert (checkpoint.sha256 or "").startswith(prefix) or checkpoint.sha256_prefix == prefix


@pytest.mark.parametrize("name", ENTRIES)
def test_classes_are_the_package_s_labels(name: str) -> None:
    """Labels without a category are told apart here by their number; the background is last where there is one."""
    labels = originals.published_weights(name).meta["categories"]
    named = [f"N/A {i}" if label == "N/A" else label for i, label in enumerate(labels)]
    assert list(read_entry(name).classes) == (named if _is_scored(read_entry(name)) else named[1:])


def _is_scored(entry: Entry) -> bool:
    """Whether label 0 is scored as an object's would be."""
    return entry.model.startswith(("retinanet", "fcos"))
