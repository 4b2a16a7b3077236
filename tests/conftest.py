"""What several tests need: a tiny data set in COCO's layout, and a checkpoint of the published kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from parity import weights

from zoo.config.compose import compose

ENTRY = "mmdet_faster_rcnn_r50_fpn_1x"
CASE = "mmdet/faster_rcnn_r50_fpn_1x_coco"
SIZES = [(48, 64), (60, 40), (50, 50)]


@pytest.fixture(scope="session")
def coco_config() -> dict[str, Any]:
    return compose(ENTRY)


@pytest.fixture
def small_parts() -> dict[str, Any]:
    """The composition with a small input."""
    return compose(ENTRY, ["protocol.transform.size_rule={long:128,short:96}"])


@pytest.fixture(scope="session")
def tiny_coco(tmp_path_factory: pytest.TempPathFactory, coco_config: dict[str, Any]) -> Path:
    """Three small mosaics with one object each, laid out as COCO val2017."""
    root = tmp_path_factory.mktemp("coco")
    (root / "val2017").mkdir()
    (root / "annotations").mkdir()
    names = coco_config["data"]["classes"]
    ids = [i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
    document: dict[str, Any] = {"images": [], "annotations": []}
    document["categories"] = [{"id": i, "name": name} for i, name in zip(ids, names, strict=True)]
    generator = np.random.default_rng(0)
    for i, (height, width) in enumerate(SIZES, start=1):
        mosaic = generator.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
        pixels = mosaic.repeat(4, axis=0).repeat(4, axis=1)[:height, :width]
        cv2.imwrite(str(root / "val2017" / f"{i:012}.png"), pixels)
        document["images"].append({"id": i, "file_name": f"{i:012}.png", "height": height, "width": width})
        box = [4.0 * i, 5.0, 20.0, 25.0]
        document["annotations"].append(
            {"id": i, "image_id": i, "category_id": ids[i], "bbox": box, "area": 500.0, "iscrowd": 0}
        )
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(document), encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def faster_rcnn_pth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mmdetection's kind of file, with the weights of the parity case."""
    path = tmp_path_factory.mktemp("checkpoints") / "faster_rcnn.pth"
    torch.save({"meta": {"mmdet_version": "2.0.0", "CLASSES": ["person"]}, "state_dict": weights(CASE)}, path)
    return path
