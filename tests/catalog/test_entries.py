"""Every entry of the catalogue: schema, composition, and names and shapes against its checkpoint's key list."""

from __future__ import annotations

import re

import pytest
import torch
from cases import CASES, ENTRIES
from parity import GOLDEN, constants, manifest, shapes

from zoo.catalog.entry import Entry, conf_dir, entry_names, read_entry
from zoo.checkpoints.convert import convert
from zoo.checkpoints.fetch_checkpoint import fetch_checkpoint
from zoo.checkpoints.keymaps import key_map
from zoo.checkpoints.readers import read
from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.fetch.hashes import published_prefix_from_name
from zoo.models.layers.skip_init import SkipInit
from zoo.results.ledger import results_dir

PARAMETERS = {
    "mmdet/faster_rcnn_r50_caffe_c4_1x_coco": 33_844_764,
    "mmdet/faster_rcnn_r50_caffe_dc5_1x_coco": 165_634_588,
    "mmdet/faster_rcnn_r50_caffe_fpn_1x_coco": 41_753_056,
    "mmdet/faster_rcnn_r50_caffe_fpn_mstrain_1x_coco-person": 41_348_181,
    "mmdet/faster_rcnn_r50_caffe_fpn_mstrain_1x_coco-person-bicycle-car": 41_358_431,
    "mmdet/faster_rcnn_r50_fpn_1x_coco": 41_753_056,
    "mmdet/faster_rcnn_r101_caffe_fpn_1x_coco": 60_745_184,
    "mmdet/faster_rcnn_r101_fpn_1x_coco": 60_745_184,
    "mmdet/faster_rcnn_x101_32x4d_fpn_1x_coco": 60_373_728,
    "mmdet/faster_rcnn_x101_32x8d_fpn_mstrain_3x_coco": 104_987_360,
    "mmdet/faster_rcnn_x101_64x4d_fpn_1x_coco": 99_651_296,
    "mmdet/faster_rcnn_r50_fpg_crop640_50e_coco": 80_025_312,
    "mmdet/faster_rcnn_r50_fpg-chn128_crop640_50e_coco": 42_357_856,
    "mmdet/mask_rcnn_r50_fpg_crop640_50e_coco": 82_669_616,
    "mmdet/mask_rcnn_r50_fpg-chn128_crop640_50e_coco": 44_707_248,
    "mmdet/retinanet_r50_fpg_crop640_50e_coco": 72_720_692,
    "mmdet/retinanet_r50_fpg-chn128_crop640_50e_coco": 40_328_756,
    "paddle/faster_rcnn_r50_1x_coco": 33_844_764,
    "paddle/faster_rcnn_r50_fpn_1x_coco": 41_753_056,
    "paddle/faster_rcnn_r101_1x_coco": 52_836_892,
    "paddle/faster_rcnn_r101_fpn_1x_coco": 60_745_184,
    "paddle/faster_rcnn_r34_fpn_1x_coco": 38_796_640,
    "paddle/faster_rcnn_enhance_3x_coco": 29_503_071,
    "paddle/faster_rcnn_res2net50_vb_26w_4s_fpn_1x_coco": 41_895_144,
    "paddle/mask_rcnn_res2net50_vb_26w_4s_fpn_2x_coco": 44_538_424,
    "paddle/mask_rcnn_res2net50_vd_26w_4s_fpn_2x_coco": 44_557_656,
    "paddle/faster_rcnn_dcn_r50_vd_fpn_3x_server_side": 29_503_071,
    "paddle/cascade_rcnn_dcn_r50_vd_fpn_3x_server_side": 37_877_197,
    "paddle/cascade_rcnn_dcn_r101_vd_fpn_3x_server_side": 57_927_320,
    # as Ultralytics counts its unfused models, but for the 16 constants of the distributions
    "ultralytics/yolov8n": 3_157_184,
    "ultralytics/yolov8s": 11_166_544,
    "ultralytics/yolov8m": 25_902_624,
    "ultralytics/yolov8l": 43_691_504,
    "ultralytics/yolov8x": 68_229_632,
    "ultralytics/yolov8n-seg": 3_409_952,
    "ultralytics/yolov8s-seg": 11_821_040,
    "ultralytics/yolov8m-seg": 27_285_952,
    "ultralytics/yolov8l-seg": 45_997_712,
    "ultralytics/yolov8x-seg": 71_827_872,
    "shapes_faster_rcnn_r10_fpn": 932_734,
    "shapes_faster_rcnn_r10_fpn_giou": 932_734,
    "shapes_mask_rcnn_r10_fpn": 983_268,
    "shapes_retinanet_r10_fpn": 634_410,
    "shapes_yolov8_p": 744_218,
}
"""Parity case, or embedded entry -> parameters, trained or frozen; running statistics are none."""


def checkpoint_shapes(entry: Entry) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor in an entry's checkpoint, by its key there."""
    if entry.name in CASES:
        return shapes(CASES[entry.name])
    file = fetch_checkpoint(entry.checkpoint, results_dir()).path
    return {key: tuple(tensor.shape) for key, tensor in read(file, entry.checkpoint.format).items()}


def test_every_entry_is_accounted_for() -> None:
    assert set(PARAMETERS) == {CASES.get(name, name) for name in entry_names()}
    assert all((GOLDEN / f"{case}.json").is_file() for case in ENTRIES)


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
    in_file = checkpoint_shapes(entry)
    fixed = constants(CASES[name]) if name in CASES else {}
    with torch.device("meta"), SkipInit():
        detector = build_model(config, config["entry"].get("classes") or config["data"]["classes"])
        checkpoint = {key: torch.empty(shape) for key, shape in in_file.items()} | fixed
    expected = {key: tuple(value.shape) for key, value in detector.state_dict().items()}
    converted, report = convert(checkpoint, key_map(entry.checkpoint.keymap), expected)
    assert converted.keys() == expected.keys()
    dropped = {key for keys in report.dropped.values() for key in keys}
    copies = set(manifest(CASES[name])["aliases"]) if name in CASES else set()
    assert dropped == copies | set(fixed), "only copies and constants are dropped"
    assert sum(parameter.numel() for parameter in detector.parameters()) == PARAMETERS[CASES.get(name, name)]


@pytest.mark.parametrize("name", entry_names())
def test_files_stay_small(name: str) -> None:
    lines = (conf_dir() / "entry" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    said = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    assert 10 <= len(said) <= 25, "an entry says what is particular to it; the rest belongs into its parts"
