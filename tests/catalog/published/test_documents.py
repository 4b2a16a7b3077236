"""Whole documents, one of each zoo's layout, and the issues that only a layout can see."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.catalog.entry import METRICS
from zoo.catalog.published.documents import PublishedNumber, read_document, read_file
from zoo.catalog.published.layouts import column_name, is_metric, layout_of, layouts
from zoo.errors import UsageError, ZooError

MMDET = """| Backbone | Style | Lr schd | Mem (GB) | Inf time (fps) | box AP | mask AP | Config | Download |
|:-:|:-:|:-:|:-:|:-:|:-:|:-:|:-:|:-:|
| R-50 | caffe | 1x | 4.0 | 20.0 | 30.0 | 29.1 | [config](./faster-rcnn_r50-caffe_fpn_ms-1x_coco-person.py) | - |
"""
PADDLE = """| 骨架网络 | 网络类型 | 每张GPU图片个数 | 学习率策略 | 推理时间(fps) | Box AP | Mask AP | 下载 | 配置文件 |
| :-- | :-- | :-: | :-: | :-: | :-: | :-: | :-: | :-: |
| R50 | Mask | 1 | 1x | ---- | 31.10 | - | [下载](m.pdparams) | [配置](https://a.org/mask_rcnn_r50_vd_1x_coco.yml) |
"""
ULTRALYTICS = """| Model | size<br><sup>(pixels) | mAP<sup>box<br>50-95 | mAP<sup>mask<br>50-95 \
| Speed<br><sup>CPU ONNX<br>(ms) | Speed<br><sup>A100 TensorRT<br>(ms) | params<br><sup>(M) | FLOPs<br><sup>(B) |
|---|---|---|---|---|---|---|---|
| [YOLOv8n-seg](https://a.org/yolov8n-seg.pt) | 640 | 30.1 | 25.2 | 90.5 | 1.10 | 3.0 | 12.0 |
"""
JWYANG = """model | #GPUs | batch size | lr | lr_decay | max_epoch | time/epoch | mem/GPU | mAP
------|-----|-----|-----|-----|-----|-----|-----|-----
[Res-101](https://a.org/s/x/faster_rcnn_1_10_9771.pth?dl=0) | 8 | 24 |1e-2| 4 | 10 | 5 hr |9,050 MB | 30.5
VGG-16 | 8 | 16 |1e-2| 4 | 6 | 4 hr | 7050 MB | 25.0
[Other](https://a.org/other.pth) | 8 | 16 |1e-2| 4 | 6 | 4 hr | | 25.0
"""


def brief(cells: list[PublishedNumber]) -> list[tuple[str | None, str, str, str | None]]:
    return [(cell.entry, cell.metric, cell.text, cell.hardware) for cell in cells]


def test_mmdet() -> None:
    cells, issues = read_document(MMDET, "README.md")
    entry = "mmdet_faster_rcnn_r50_caffe_fpn_ms_1x_person"
    assert brief(cells) == [
        (entry, "train_memory_gb", "4.0", "V100"),
        (entry, "fps", "20.0", "V100"),
        (entry, "box_AP", "30.0", None),
        (entry, "mask_AP", "29.1", None),
    ]
    assert {(cell.zoo, cell.row, cell.file, cell.line, cell.side) for cell in cells} == {
        ("mmdet", "R-50", "README.md", 3, None)
    }
    assert issues == []


def test_paddle_in_two_languages() -> None:
    cells, (issue,) = read_document(PADDLE, "README.md")
    assert brief(cells) == [("paddle_mask_rcnn_r50_vd_1x", "box_AP", "31.10", None)]
    assert issue.line == 1
    assert issue.problem.startswith("column names in another language (骨架网络, ")
    assert "inf time (fps)" in issue.resolution
    english = PADDLE.replace("推理时间(fps)", "Inf time (fps)").replace("----", "12.125")
    assert brief(read_document(english, "README.md")[0])[0] == ("paddle_mask_rcnn_r50_vd_1x", "fps", "12.125", "V100")


def test_ultralytics() -> None:
    cells, issues = read_document(ULTRALYTICS, "README.md")
    assert [(cell.metric, cell.text, cell.hardware) for cell in cells] == [
        ("box_AP", "30.1", None),
        ("mask_AP", "25.2", None),
        ("latency_ms", "90.5", "CPU, ONNX"),
        ("latency_ms", "1.10", "A100, TensorRT"),
        ("params_m", "3.0", None),
        ("flops_b", "12.0", None),
    ]
    assert {cell.entry for cell in cells} == {"ultralytics_yolov8n_seg"}
    assert issues == []


def test_jwyang() -> None:
    cells, issues = read_document(JWYANG, "README.md")
    assert brief(cells) == [
        ("jwyang_faster_rcnn_r101_s600_10e", "hours_per_epoch", "5", "8 Titan X (Pascal)"),
        ("jwyang_faster_rcnn_r101_s600_10e", "train_memory_mb", "9050", "Titan X (Pascal)"),
        ("jwyang_faster_rcnn_r101_s600_10e", "box_AP", "30.5", None),
        ("jwyang_faster_rcnn_vgg16_s800_6e", "hours_per_epoch", "4", "8 Titan X (Pascal)"),
        ("jwyang_faster_rcnn_vgg16_s800_6e", "train_memory_mb", "7050", "Titan X (Pascal)"),
        ("jwyang_faster_rcnn_vgg16_s800_6e", "box_AP", "25.0", None),
        (None, "hours_per_epoch", "4", "8 Titan X (Pascal)"),
        (None, "box_AP", "25.0", None),
    ]
    assert cells[1].raw == "9,050 MB"
    assert [(issue.line, issue.problem) for issue in issues] == [
        (3, "column 'mem/gpu': a unit in the cell (MB)"),
        (3, "column 'mem/gpu': thousands separators"),
        (3, "column 'time/epoch': a unit in the cell (hr)"),
        (4, "column 'mem/gpu': a unit in the cell (MB)"),
        (4, "column 'time/epoch': a unit in the cell (hr)"),
        (5, "a row that names no known model: 'Other'"),
        (5, "column 'time/epoch': a unit in the cell (hr)"),
    ]


def test_several_zoos_in_one_document() -> None:
    cells, _ = read_document(f"{MMDET}\n{ULTRALYTICS}\n{JWYANG}\n{PADDLE}", "README.md")
    assert list(dict.fromkeys(cell.zoo for cell in cells)) == ["mmdet", "ultralytics", "jwyang", "paddle"]


def test_layouts_are_consistent() -> None:
    assert [layout.zoo for layout in layouts()] == ["mmdet", "paddle", "ultralytics", "jwyang"]
    for layout in layouts():
        known = set(layout.columns) | layout.others
        assert {column.metric for column in layout.columns.values()} <= set(METRICS)
        assert layout.key_column in known
        assert not set(layout.columns) & layout.others
        assert set(layout.translations.values()) <= known
        assert all(column_name(name) == name for name in [*known, *layout.translations])


def test_a_table_belongs_to_the_zoo_that_knows_most_of_its_columns() -> None:
    def zoo_of(*header: str) -> str | None:
        layout = layout_of(header)
        return layout.zoo if layout else None

    assert zoo_of("Backbone", "Type", "Box AP", "Configs") == "paddle"
    assert zoo_of("Backbone", "Style", "box AP", "Config") == "mmdet"
    assert zoo_of("Backbone", "Style") is None
    assert is_metric("推理时间(fps)")
    assert not is_metric("Backbone")


def test_columns_and_tables_of_no_known_metric_are_reported() -> None:
    text = MMDET.replace("mask AP", "AP75") + "\n| Name | Age |\n|---|---|\n| a | 3 |\n"
    cells, issues = read_document(text, "README.md")
    assert [cell.metric for cell in cells] == ["train_memory_gb", "fps", "box_AP"]
    assert [(issue.line, issue.problem, issue.resolution) for issue in issues] == [
        (1, "columns of no known metric (AP75)", "left out"),
        (5, "a table without a known column of numbers", "left out"),
    ]


def test_a_row_changed_on_both_sides_of_a_conflict() -> None:
    names, dashes, row = MMDET.splitlines()
    other = row.replace("30.0", "30.4")
    text = f"{names}\n{dashes}\n<<<<<<< HEAD\n{row}\n=======\n{other}\n>>>>>>> fix\n"
    cells, _ = read_document(text, "README.md")
    assert [(cell.side, cell.line, cell.text) for cell in cells if cell.metric == "box_AP"] == [
        ("HEAD", 4, "30.0"),
        ("fix", 6, "30.4"),
    ]


def test_running_text_is_a_carrier_of_its_own() -> None:
    text = f"PSS-DET: at 50FPS on one V100, COCO mAP is 31.5%.\n```\nPSS-DET: 1FPS\n```\n\n{PADDLE}"
    cells, _ = read_document(text, "a.md")
    assert brief(cells[:2]) == [
        ("paddle_faster_rcnn_enhance_3x", "fps", "50", "V100"),
        ("paddle_faster_rcnn_enhance_3x", "box_AP", "31.5", None),
    ]
    assert [cells[i].cell("a.md").source for i in (0, 1, 2)] == ["a.md (text)", "a.md (text)", "a.md"]
    assert {cell.zoo for cell in read_document(text.split("```")[0] + MMDET, "a.md")[0]} == {"mmdet"}


def test_running_text_stands_on_a_side_of_a_conflict_too() -> None:
    text = f"<<<<<<< HEAD\nPSS-DET: at 50FPS on one V100\n=======\nPSS-DET: at 51FPS on one V100\n>>>>>>> fix\n{PADDLE}"
    cells, _ = read_document(text, "a.md")
    assert [(cell.text, cell.side) for cell in cells[:2]] == [("50", "HEAD"), ("51", "fix")]


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(b"\xef\xbb\xbf" + MMDET.replace("\n", "\r\n").encode())
    cells, issues = read_file(path)
    assert [cell.text for cell in cells] == ["4.0", "20.0", "30.0", "29.1"]
    assert issues == []
    path.write_bytes(b"\n\xff\n" + MMDET.encode())
    assert [(issue.line, issue.problem) for issue in read_file(path)[1]] == [(2, "bytes that are not UTF-8")]


def test_files_without_numbers(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    with pytest.raises(UsageError, match=r"no file .*README\.md"):
        read_file(path)
    with pytest.raises(ZooError, match="Is a directory"):
        read_file(tmp_path)
    path.write_text("| Name | Age |\n|---|---|\n| a | 3 |\n", encoding="utf-8")
    with pytest.raises(ZooError, match="line 1: a table without a known column") as error:
        read_file(path)
    assert "box ap" in error.value.next_step
