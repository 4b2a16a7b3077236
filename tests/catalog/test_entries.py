"""Every entry of the catalogue: sound by `zoo check`, its list of keys that of the parity case."""

from __future__ import annotations

from collections import Counter

import pytest
from cases import CASE_OF_KEYS, CASES
from parity import shapes

from zoo.catalog.entry import conf_dir, entry_names, read_entry
from zoo.catalog.keys import GROUP, KeyList, find_key_list
from zoo.checkpoints.convert import FIXED, REPEATED
from zoo.checkpoints.fetch_checkpoint import EMBEDDED, PACKAGE
from zoo.config.check import check_entry


def test_every_row_of_the_published_tables_is_there() -> None:
    counts = Counter(name.partition("_")[0] for name in entry_names())
    counts.pop("shapes")
    assert counts == {"mmdet": 36, "paddle": 12, "ultralytics": 10, "jwyang": 5, "torchvision": 13}
    assert counts.total() == 76


NOT_PUBLISHED = ["jwyang_faster_rcnn_vgg16_s800_6e"]
"""Rows whose checkpoint was never published."""


@pytest.mark.parametrize("name", entry_names())
def test_it_is_sound(name: str) -> None:
    checked = check_entry(name)
    assert checked.problems == []
    missing = [item.partition(" (")[0] for item in checked.missing if not item.startswith("published hash")]
    assert missing == (["address of a checkpoint"] if name in NOT_PUBLISHED else [])
    assert checked.keys is not None, "its list of keys is stored"
    left_out = {fact.partition("left out, ")[2] for fact in checked.facts if "left out" in fact}
    assert left_out <= {FIXED, REPEATED}, "only copies and constants are left out"


@pytest.mark.parametrize("name", entry_names())
def test_files_stay_small(name: str) -> None:
    lines = (conf_dir() / "entry" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    said = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    assert 10 <= len(said) <= 25, "an entry says what is particular to it; the rest belongs into its parts"


@pytest.mark.parametrize("name", sorted({case: name for name, case in CASES.items()}.values()))
def test_a_stored_list_has_the_keys_of_the_original(name: str) -> None:
    path = find_key_list(read_entry(name))
    assert path is not None
    assert list(KeyList.read(path).shapes.items()) == list(shapes(CASES[name]).items())


@pytest.mark.parametrize("name", [name for name in entry_names() if name.startswith("shapes_")])
def test_a_stored_list_has_the_keys_of_the_embedded_file(name: str) -> None:
    (url,) = read_entry(name).checkpoint.urls
    stored, of_the_file = check_entry(name).keys, check_entry(name, EMBEDDED / url.removeprefix(PACKAGE)).keys
    assert stored is not None
    assert of_the_file is not None
    assert (stored.parameters, dict(stored.shapes)) == (of_the_file.parameters, dict(of_the_file.shapes))


def test_no_list_is_idle() -> None:
    stored = set((conf_dir() / GROUP).rglob("*.json"))
    assert stored == {find_key_list(read_entry(name)) for name in entry_names()}
    lists = {path.relative_to(conf_dir() / GROUP).with_suffix("").as_posix() for path in stored}
    assert lists >= set(CASE_OF_KEYS)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("mmdet_faster_rcnn_r50_fpn_1x", 41_753_056),
        ("mmdet_mask_rcnn_r50_fpg_crop640_50e", 82_669_616),
        ("mmdet_retinanet_r50_fpg_chn128_crop640_50e", 40_328_756),
        ("paddle_faster_rcnn_r34_fpn_1x", 38_796_640),
        ("jwyang_faster_rcnn_r101_s600_10e", 48_077_849),  # without the 8,196 of a box of the background
        ("ultralytics_yolov8n", 3_157_184),  # as Ultralytics counts, but for the 16 constants of the distributions
        ("ultralytics_yolov8x_seg", 71_827_872),
    ],
)
def test_parameters_of_the_originals(name: str, parameters: int) -> None:
    path = find_key_list(read_entry(name))
    assert path is not None
    assert KeyList.read(path).parameters == parameters
