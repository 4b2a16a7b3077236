"""The Python API as users meet it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ENTRY

import zoo
from zoo.data.images import decode
from zoo.data.preprocess import Preprocess
from zoo.data.size_rules import KeepRatio
from zoo.errors import CheckpointError, DataError, UsageError

SMALL = ["protocol.transform.size_rule={long:128,short:96}"]


def test_importing_it_is_cheap() -> None:
    heavy = ["torch", "torchvision", "hydra", "pandas", "cv2", "numpy", "requests"]
    code = f"import sys, zoo; zoo.entries(); print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_entries() -> None:
    assert ENTRY in zoo.entries()
    assert zoo.entries() == sorted(zoo.entries())


def test_build_is_a_function_even_after_use() -> None:
    first = zoo.build("faster_rcnn_r50_fpn_1x", SMALL)
    second = zoo.build(ENTRY, SMALL)
    assert not first.training
    assert [p.shape for p in first.parameters()] == [p.shape for p in second.parameters()]


def test_load_and_predict(faster_rcnn_pth: Path, tiny_coco: Path) -> None:
    model = zoo.load(ENTRY, checkpoint=faster_rcnn_pth)
    assert isinstance(model, torch.nn.Module)
    assert not model.training
    with torch.inference_mode():
        features = model.backbone(torch.zeros(1, 3, 64, 64))
        pyramid = model.neck(features)
    assert [f.shape[-1] for f in features] == [16, 8, 4, 2]
    assert [f.shape[-1] for f in pyramid] == [16, 8, 4, 2, 1]
    model.transform = Preprocess(KeepRatio(128, 96))  # a small input is enough for what follows
    file = tiny_coco / "val2017" / "000000000001.png"
    array = decode(file)[:, :, ::-1]
    by_path, by_array = model.predict([file, array])
    assert len(by_path) == len(by_array) > 0
    assert torch.equal(by_path.boxes, by_array.boxes)
    assert (by_path.scores.diff() <= 0).all()
    assert by_path.labels.dtype == torch.int64
    assert by_path.boxes[:, 0::2].max() <= 64
    assert by_path.boxes[:, 1::2].max() <= 48
    with pytest.raises(DataError, match="absent"):
        model.predict(["absent.jpg"])
    with pytest.raises(ValueError, match="uint8"):
        model.predict([np.zeros((4, 4, 3))])
    assert by_path.classes == model.classes
    assert (by_path.path, by_array.path) == (file, None)
    with pytest.raises(UsageError, match="list of images") as one:
        model.predict("image.jpg")
    assert one.value.next_step == "call model.predict(['image.jpg'])[0]"
    with pytest.raises(UsageError, match="list of images, not an array"):
        model.predict(array)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="eval"):
        model.train().predict([array])


def test_embedded_models_need_nothing_from_outside(tiny_coco: Path) -> None:
    file = tiny_coco / "val2017" / "000000000001.png"
    for name in ("shapes_faster_rcnn_r10_fpn", "shapes_retinanet_r10_fpn"):
        (found,) = zoo.load(name).predict([file])
        assert found.boxes.shape == (len(found), 4)
        assert found.labels.numel() == 0 or int(found.labels.max()) < 6


def test_dir_shows_the_api_and_nothing_else() -> None:
    assert dir(zoo) == sorted(zoo.__all__)
    assert all(getattr(zoo, name).__doc__ for name in dir(zoo))
    assert zoo.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="'laod'"):
        _ = zoo.laod
    with pytest.raises(zoo.ZooError):
        zoo.load("absent")


FRESH = {
    "shapes_faster_rcnn_r10_fpn": ["roi_head.stages.0.box_head.logits", "roi_head.stages.0.box_head.deltas"],
    "shapes_mask_rcnn_r10_fpn": [
        *("roi_head.stages.0.box_head.logits", "roi_head.stages.0.box_head.deltas"),
        "roi_head.mask_head.logits",
    ],
    "shapes_retinanet_r10_fpn": ["dense_head.logits"],
    "shapes_yolov8_p": [f"dense_head.class_branches.{level}.2" for level in range(3)],
}
"""Entry -> the layers of which the shapes depend on the classes."""


@pytest.mark.parametrize("classes", [["cat", "dog", "fox"], ["star", "disc", "square", "triangle", "ring", "cross"]])
@pytest.mark.parametrize("name", FRESH)
def test_layers_of_other_classes_begin_anew(
    name: str, classes: list[str], tiny_coco: Path, caplog: pytest.LogCaptureFixture
) -> None:
    published, other = zoo.load(name), zoo.load(name, classes=classes)
    assert other.classes == tuple(classes)
    states = published.state_dict(), other.state_dict()
    assert states[0].keys() == states[1].keys()
    differing = {key for key in states[0] if not torch.equal(states[0][key], states[1][key])}
    assert {key.rpartition(".")[0] for key in differing} == set(FRESH[name])
    assert f"(6 in the file, {len(classes)} in the model): {', '.join(FRESH[name])}" in caplog.text
    (found,) = other.predict([tiny_coco / "val2017" / "000000000001.png"])
    assert all(one.name in classes for one in found)


@pytest.mark.parametrize("inclusive", [False, True])
def test_detections_know_what_their_corners_are(inclusive: bool) -> None:
    model = zoo.build(ENTRY, [*SMALL, f"protocol.boxes.inclusive={inclusive}"])
    (found,) = model.predict([np.zeros((48, 64, 3), dtype=np.uint8)])
    assert found.inclusive is inclusive


def test_classes_of_ones_own() -> None:
    assert zoo.load("shapes_retinanet_r10_fpn", classes=zoo.load("shapes_retinanet_r10_fpn").classes)
    assert zoo.build("shapes_retinanet_r10_fpn", classes=["cat"]).classes == ("cat",)


def test_errors_name_the_next_step() -> None:
    with pytest.raises(UsageError, match="closest") as unknown:
        zoo.load("mmdet_faster_rcnn_r50_fpn_1xx")
    assert unknown.value.next_step
    with pytest.raises(UsageError, match="backbon"):
        zoo.build(ENTRY, ["backbon=resnet50"])
    with pytest.raises(CheckpointError, match=r"absent\.pth") as missing:
        zoo.load(ENTRY, checkpoint="absent.pth")
    assert missing.value.next_step
