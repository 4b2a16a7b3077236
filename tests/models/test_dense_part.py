"""The dense part of every architecture: on a pretended GPU it waits for nothing and takes nothing from the host.

What does either cannot be captured as a CUDA graph.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from class_names import class_names
from device_work import counted
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import zoo
from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.models import device_constants
from zoo.models.heads.anchor_head import AnchorOutputs
from zoo.models.heads.yolo_outputs import YoloOutputs
from zoo.models.layers.skip_init import SkipInit
from zoo.run.graphs import use_graphs
from zoo.run.nested import tensors_in

KINDS = (
    "mmdet_faster_rcnn_r50_fpg_chn128_crop640_50e",
    "paddle_cascade_rcnn_dcn_r50_vd_fpn_3x_server_side",
    "torchvision_fcos_resnet50_fpn",
    "torchvision_ssd300_vgg16",
    "torchvision_ssdlite320_mobilenet_v3_large",
    "ultralytics_yolov8n_seg",
)
"""A row for each backbone, neck, and head of the dense part."""

VARIANTS = (
    "jwyang_faster_rcnn_r101_s600_10e",
    "jwyang_faster_rcnn_vgg16_s800_6e",
    "mmdet_faster_rcnn_r50_caffe_dc5_1x",
    "mmdet_retinanet_r50_fpg_chn128_crop640_50e",
    "paddle_faster_rcnn_r34_fpn_1x",
    "paddle_mask_rcnn_res2net50_vd_26w_4s_fpn_2x",
    "torchvision_fasterrcnn_mobilenet_v3_large_320_fpn",
    "torchvision_fasterrcnn_resnet50_fpn",
    "torchvision_fasterrcnn_resnet50_fpn_v2",
    "torchvision_retinanet_resnet50_fpn_v2",
    "ultralytics_yolov8n",
)
"""And for what they are made of in other rows."""

IMAGES = (1, 3, 384, 512)


class OnTheHost(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch's own
    """Notes the operators that read or give a tensor on another device than the GPU."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch's own
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        given = tensors_in((args, result, *(kwargs or {}).values()))
        if any(tensor.device.type != "cuda" for tensor in given) and not in_kept_constants():
            self.found.append(func.name())
        return result


def in_kept_constants() -> bool:
    """Whether a constant is being made that a true GPU would have kept: one of a fake mode is not."""
    return any(frame.f_code.co_filename == device_constants.__file__ for frame, _ in traceback.walk_stack(None))


@pytest.mark.parametrize("entry", [*KINDS, *(pytest.param(entry, marks=pytest.mark.nightly) for entry in VARIANTS)])
def test_nothing_waits_and_nothing_comes_from_the_host(entry: str) -> None:
    with FakeTensorMode(), torch.no_grad():
        with SkipInit("cuda"):
            detector = build_model(compose(entry), class_names(80)).eval()
        images = torch.empty(IMAGES, device="cuda")
        detector.dense(images)  # makes what is kept for images of this shape
        with OnTheHost() as on_the_host:  # an operator whose answer depends on values raises
            outputs = detector.dense(images)
    assert on_the_host.found == []
    found = list(tensors_in(outputs))
    assert len(found) >= 2
    assert {tensor.device.type for tensor in found} == {"cuda"}


def in_order(outputs: Any) -> Any:
    """The outputs without the boxes of ranked anchors, whose order is chance where fresh weights score all alike."""
    return outputs if isinstance(outputs, AnchorOutputs | YoloOutputs) else (outputs[0], outputs[1].scores)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("entry", KINDS)
def test_it_is_captured_on_a_gpu(entry: str) -> None:
    with torch.device("cuda"):
        detector = build_model(compose(entry), class_names(80)).eval()
    graphs = use_graphs(detector).graphed_dense
    assert graphs is not None
    images = torch.rand(IMAGES, device="cuda")
    with torch.inference_mode():
        own = detector.dense(images)
    for replayed, eager in zip(tensors_in(in_order(graphs(images))), tensors_in(in_order(own)), strict=True):
        scale = float(eager.abs().max())
        torch.testing.assert_close(replayed, eager, rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.parametrize("entry", ["shapes_mask_rcnn_r10_fpn", "shapes_retinanet_r10_fpn", "shapes_yolov8_p"])
@torch.inference_mode()
def test_on_the_cpu_as_well(entry: str) -> None:
    detector, images = zoo.build(entry), torch.rand(1, 3, 64, 96)
    detector.dense(images)
    with counted() as work:
        detector.dense(images)
    assert (work.waits, work.copies) == (0, 0), work
    assert work.ops > 20


def test_a_constant_made_of_python_values_would_be_noticed() -> None:
    with FakeTensorMode(), OnTheHost() as on_the_host:
        torch.zeros(2, device="cuda") + torch.tensor([1.0, 2.0], device="cuda")
    assert on_the_host.found
