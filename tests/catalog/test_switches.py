"""The lists of switches: every one reads, fits rows of its zoo, and makes of them what can be composed."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.catalog import switches as module
from zoo.catalog.switches import Switch, read_switches
from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.errors import UsageError
from zoo.models.layers.skip_init import SkipInit

ROWS = {
    "mmdet": ("mmdet_mask_rcnn_r50_fpg_crop640_50e", "mmdet_retinanet_r50_fpg_crop640_50e"),
    "paddle": (
        "paddle_faster_rcnn_r50_1x",
        "paddle_faster_rcnn_enhance_3x",
        "paddle_cascade_rcnn_dcn_r101_vd_fpn_3x_server_side",
    ),
    "ultralytics": ("ultralytics_yolov8n_seg",),
    "jwyang": ("jwyang_faster_rcnn_r101_s800_6e",),
    "torchvision": ("torchvision_fasterrcnn_resnet50_fpn", "torchvision_fcos_resnet50_fpn"),
    "shapes": ("shapes_mask_rcnn_r10_fpn", "shapes_yolov8_p"),
}
"""Rows that together have whatever a list of their zoo may change."""

CONFIG = {
    "head": {"rpn_head": {"top": 3}, "roi_head": {"detections": {"iou": 0.5, "min": None}}},
    "protocol": {"channels": "rgb", "transform": {"_target_": "a.b"}},
}


def switch(*overrides: str, **more: str) -> Switch:
    return Switch(name="a", overrides=overrides, source="README.md", **more)  # type: ignore[arg-type] # keywords of a test, any of them


@pytest.mark.parametrize(
    ("overrides", "applied"),
    [
        (("head.*.detections.iou=0.6",), ("head.roi_head.detections.iou=0.6",)),
        (("head.*.detections.iou=0.5",), ()),  # the row has that value
        (("head.dense_head.detections.iou=0.6",), ()),
        (("protocol.eps=0.1",), ()),  # not there, and not said to be new
        (("+protocol.eps=0.1", "+protocol.padding.eps=0.1"), ("+protocol.eps=0.1",)),
        (("+protocol.channels=bgr",), ("protocol.channels=bgr",)),  # there already
        (("protocol.channels=rgb", "protocol.channels=bgr"), ("protocol.channels=bgr",)),
        (("protocol.channels=bgr", "protocol.channels=grb"), ("protocol.channels=bgr",)),
        (("head.roi_head.detections.min=null",), ()),
        (("head.roi_head.detections.iou=null",), ("head.roi_head.detections.iou=null",)),
        (("rescore.max_detections=10",), ("rescore.max_detections=10",)),
    ],
)
def test_what_a_switch_makes_of_a_row(overrides: tuple[str, ...], applied: tuple[str, ...]) -> None:
    assert switch(*overrides).applied(CONFIG) == applied


def test_a_switch_of_some_rows_only() -> None:
    assert switch("protocol.channels=bgr", where="head.rpn_head.top").applied(CONFIG)
    assert not switch("protocol.channels=bgr", where="head.dense_head.top").applied(CONFIG)


def test_tiers() -> None:
    assert switch("rescore.inclusive=true").tier == 1
    assert switch("protocol.channels=bgr").tier == 2
    with pytest.raises(ValueError, match="either scores again or runs again"):
        switch("rescore.inclusive=true", "protocol.channels=bgr")


@pytest.mark.parametrize("zoo", ROWS)
def test_every_switch_of_a_zoo_fits_a_row(zoo: str) -> None:
    configs = [compose(row) for row in ROWS[zoo]]
    for one in read_switches(zoo):
        assert any(one.applied(config) for config in configs), one.name


@pytest.mark.nightly
@pytest.mark.parametrize("row", [row for rows in ROWS.values() for row in rows])
def test_what_every_switch_makes_of_a_row_can_be_built(row: str) -> None:
    config = compose(row)
    for one in read_switches(row.partition("_")[0]):
        if one.tier > 1 and (overrides := one.applied(config)):
            changed = compose(row, overrides)
            assert changed != config, one.name
            with SkipInit("meta"):
                build_model(changed, changed["entry"].get("classes") or changed["data"]["classes"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("switches: [{name: a, overrides: [b], source: c}]", "'b'? is not KEY=VALUE|b is not KEY=VALUE"),
        ("switches: [{name: a, overrides: [b=1]}]", "source"),
        (
            "switches: [{name: a, overrides: [b=1], source: c}, {name: a, overrides: [b=2], source: c}]",
            "'a' is there twice",
        ),
        ("switches: [", "not valid YAML"),
    ],
)
def test_a_faulty_list_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str) -> None:
    path = tmp_path / "some.yaml"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(module, "config_file", lambda *_: path)
    with pytest.raises(UsageError, match=message) as caught:
        read_switches("some")
    assert caught.value.message.startswith(str(path))


def test_a_zoo_without_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "config_file", lambda *_: None)
    assert read_switches("some") == ()
