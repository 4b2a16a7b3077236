"""Published documents and their evidence, broken: what can be read, or an error."""

from __future__ import annotations

from pathlib import Path

from fuzzing import fuzz

from zoo.catalog.published.documents import read_file
from zoo.catalog.published.evidence import read_evidence
from zoo.files import PROJECT

MMDET = """# Faster R-CNN
<!-- [ALGORITHM] -->

| Backbone | Style | Lr schd | Mem (GB) | Inf time (fps) | box AP | Config | Download |
| :---: | :---: | :---: | ---: | --- | :---: | :---: | :---: |
| R-50-FPN | pytorch | 1x | 4.0 | 21.4 | 37.4 | [config](./faster-rcnn_r50_fpn_1x_coco.py) | [model](a.pth) \\| log |
| R-101-FPN | caffe | 2x | 5.7* | ~15.6 | **39.4** | [config](./faster-rcnn_r101_fpn_2x_coco.py) | - |
"""
CONFLICT = """<<<<<<< HEAD
| Model | size<br><sup>(pixels) | mAP<sup>val<br>50-95 | params<br><sup>(M) |
|---|---|---|---|
| [YOLOv8n](https://host/yolov8n.pt) | 640 | 37.3 | 3.2 |
=======
| 模型 | mAP<sup>val<br>50-95 |
|---|---|
| [YOLOv8n](https://host/yolov8n.pt) | 37,3 ± 0.1 (best) |
>>>>>>> 0123456789012345678901234567890123456789
"""


def test_markdown(tmp_path: Path) -> None:
    path = tmp_path / "README.md"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        read_file(path)

    fuzz("markdown", read, [MMDET, CONFLICT])


def test_evidence(tmp_path: Path) -> None:
    path = tmp_path / "mmdet.csv"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        read_evidence(path)

    committed = (PROJECT / "results" / "published" / "mmdet.csv").read_text(encoding="utf-8")
    fuzz("evidence", read, ["\n".join(committed.splitlines()[:4]) + "\n"])
