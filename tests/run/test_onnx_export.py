"""The exported network: the same detections as the detector's own, and a clear word where there is none."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from class_names import class_names
from parity import SHARED, golden, needs_coco, needs_shared, weights
from torch import Tensor, nn

from zoo.config.build import build_model, load_weights
from zoo.config.compose import compose
from zoo.data.detections import Detections
from zoo.data.rle import decode
from zoo.errors import BlockedError, UsageError
from zoo.models.detectors.dense import DenseDetector
from zoo.models.heads.yolo import YoloHead
from zoo.models.layers.conv import fold_batch_norm, norms
from zoo.run.onnx_export import OUTPUTS, OnnxDetector, export_network, exportable, input_size
from zoo.runtime.hardware import use_true_float32
from zoo.types import Sample

SIDE = 96
BEST = 100
"""Detections of an image that are compared."""


def small(entry: str = "ultralytics_yolov8n_seg") -> DenseDetector:
    """Half as wide as n, with weights that spread boxes, scores and masks; folded, as it runs."""
    torch.manual_seed(0)
    detector = build_model(
        compose(entry, ["backbone=csp_p", f"protocol.transform.size_rule.long={SIDE}"]), class_names(80)
    )
    assert isinstance(detector, DenseDetector)
    head = detector.dense_head
    assert isinstance(head, YoloHead)
    for branches, bias in ((head.class_branches, -5.0), (head.box_branches, 0.0)):
        for branch in branches:
            nn.init.normal_(branch[-1].weight, std=0.2)  # type: ignore[index]
            nn.init.constant_(branch[-1].bias, bias)  # type: ignore[index]
    for norm in norms(detector):
        norm.momentum = 1.0  # one batch gives the statistics, so that every layer's output is spread
    with torch.no_grad():
        batch = detector.prepare([on_the_square(detector, image) for image in images()])
        head(detector.train().extract(batch.images))
    fold_batch_norm(detector.eval())
    return detector


def images() -> list[npt.NDArray[np.uint8]]:
    """Lying, standing and square, of coarse noise."""
    generator = np.random.default_rng(0)
    sizes = ((60, 90), (120, 80), (96, 96))
    return [
        generator.integers(0, 256, (h // 4, w // 4, 3), dtype=np.uint8).repeat(4, axis=0).repeat(4, axis=1)
        for h, w in sizes
    ]


def on_the_square(detector: DenseDetector, image: npt.NDArray[np.uint8]) -> Sample:
    """An image for the canvas that is exported."""
    sample = detector.transform(image)
    sample.batch_shape = (SIDE, SIDE)
    return sample


class Exported(NamedTuple):
    detector: DenseDetector
    path: Path


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    detector = small()
    use_true_float32()  # as every run does
    export_network(exportable(detector), path)
    return Exported(detector, path)


def test_the_file_takes_one_image_and_gives_raw_outputs(exported: Exported) -> None:
    model = onnx.load(exported.path)
    onnx.checker.check_model(model, full_check=True)
    shapes = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    points = 12 * 12 + 6 * 6 + 3 * 3
    assert shapes == {
        "images": [1, 3, SIDE, SIDE],
        "boxes": [1, points, 4],
        "logits": [1, points, 80],
        "coefficients": [1, points, 32],
        "prototypes": [1, 32, 24, 24],
    }
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert [path.name for path in exported.path.parent.iterdir()] == ["model.onnx"], "one whole file, nothing beside it"


def partners(found: Detections, boxes: Tensor, scores: Tensor, labels: Tensor) -> list[int]:
    """For each expected detection the one found: float noise may swap two of almost equal score."""
    other = (boxes[:, None] - found.boxes[None]).abs().amax(dim=2) > 0.02
    other |= labels[:, None] != found.labels[None]
    differences = (scores[:, None] - found.scores[None]).abs().masked_fill(other, torch.inf)
    nearest, chosen = differences.min(dim=1)  # of boxes that were cut to the image there may be several
    assert float(nearest.max()) <= 1e-4
    return chosen.tolist()


def test_detections_are_those_of_the_detector(exported: Exported) -> None:
    with torch.inference_mode():
        batches = [exported.detector.prepare([on_the_square(exported.detector, image)]) for image in images()]
        expected = [exported.detector.postprocess(exported.detector.network(batch), batch)[0] for batch in batches]
    found = OnnxDetector(exported.detector, exported.path).eval().predict(images())
    for ours, theirs in zip(found, expected, strict=True):
        assert len(theirs) > BEST
        assert float(theirs.scores[0] - theirs.scores[BEST]) > 0.1
        chosen = partners(ours, theirs.boxes[:BEST], theirs.scores[:BEST], theirs.labels[:BEST])
        assert ours.masks is not None
        assert theirs.masks is not None
        masks = [(decode(ours.masks[j]), decode(mask)) for j, mask in zip(chosen, theirs.masks[:BEST], strict=True)]
        differ, area = sum((a != b).sum() for a, b in masks), sum(b.sum() for _, b in masks)
        assert differ <= 0.01 * area  # a box side within float noise of a whole number moves a mask's edge


def test_raw_outputs_are_those_of_the_detector(exported: Exported) -> None:
    detector = OnnxDetector(exported.detector, exported.path).eval()
    for image in images():
        with torch.inference_mode():
            batch = detector.prepare([detector.transform(image)])
            expected, found = exported.detector.network(batch), detector.network(batch)
        for name in OUTPUTS:
            ours, theirs = getattr(found, name), getattr(expected, name)
            assert ours.shape == theirs.shape
            assert float((ours - theirs).abs().max()) <= 1e-3 * float(theirs.std()), name


@pytest.mark.long
@needs_shared
@needs_coco
@pytest.mark.parametrize("case", [pytest.param("yolov8n", marks=pytest.mark.nightly), "yolov8n-seg"])
def test_detections_are_those_of_the_original(case: str, tmp_path: Path) -> None:
    with torch.device("meta"):
        detector = build_model(compose(f"ultralytics_{case.replace('-', '_')}"), class_names(80))
    load_weights(detector, weights(f"ultralytics/{case}"), "ultralytics")
    fold_batch_norm(detector.eval())
    network = exportable(detector)
    export_network(network, tmp_path / "model.onnx")
    ours = OnnxDetector(network, tmp_path / "model.onnx").eval()
    for image in ("000000349184", "000000520707"):
        answers = golden(f"ultralytics/{case}", f"e2e_square/{image}")
        (found,) = ours.predict([SHARED / "coco" / "val2017" / f"{image}.jpg"])
        assert len(found) == int(answers["num"])
        partners(found, *(torch.from_numpy(answers[name]) for name in ("boxes", "scores", "labels")))


def test_the_export_leaves_tf32_off(exported: Exported) -> None:
    assert torch.backends.cudnn.conv.fp32_precision == "ieee"  # type: ignore[attr-defined] # made at import time


@pytest.mark.usefixtures("two_threads")
def test_onnxruntime_has_as_many_threads_as_torch(exported: Exported) -> None:
    detector = OnnxDetector(exported.detector, exported.path)
    assert detector.threads == torch.get_num_threads()
    assert detector.session.get_session_options().intra_op_num_threads == detector.threads
    assert detector.session.get_providers() == ["CPUExecutionProvider"]


def test_the_input_is_the_square_of_the_protocol() -> None:
    assert input_size(small("ultralytics_yolov8n")) == (SIDE, SIDE)


def test_without_a_square_there_is_no_export() -> None:
    with torch.device("meta"):
        detector = build_model(compose("ultralytics_yolov8n", ["protocol=mmdet"]), class_names(80))
    with pytest.raises(UsageError, match="its protocol has no input of fixed size"):
        exportable(detector)


@pytest.mark.parametrize("model", ["yolov8n", "yolov8x_seg"])
def test_published_rows_are_exported_at_640(model: str) -> None:
    with torch.device("meta"):
        detector = build_model(compose(f"ultralytics_{model}"), class_names(80))
    assert input_size(exportable(detector)) == (640, 640)


def test_two_stages_cannot_be_exported(small_parts: dict[str, Any]) -> None:
    with torch.device("meta"):
        detector = build_model(small_parts, class_names(80))
    with pytest.raises(UsageError, match="a TwoStageDetector cannot be exported to ONNX") as caught:
        exportable(detector)
    assert caught.value.next_step.startswith("leave onnx_latency out of measure")


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_without_the_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BlockedError, match=f"the ONNX export needs {package}") as caught:
        exportable(small("ultralytics_yolov8n"))
    assert caught.value.next_step == "install it: pip install 'zoo-bench[onnx]'"


def test_an_exported_network_is_not_trained(exported: Exported) -> None:
    with pytest.raises(TypeError, match="cannot be trained"):
        OnnxDetector(exported.detector, exported.path).losses()
