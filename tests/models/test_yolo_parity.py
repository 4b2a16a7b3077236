"""Every network stage of YOLOv8 agrees with Ultralytics on the same weights and input."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from class_names import class_names
from parity import assert_stage, golden, weights
from torch import Tensor

from zoo.config.build import build_model, load_weights
from zoo.config.compose import compose
from zoo.models.detectors.dense import DenseDetector
from zoo.models.heads.yolo import YoloHead
from zoo.models.heads.yolo_outputs import YoloOutputs
from zoo.models.layers.conv import fold_batch_norm

DEEP = [pytest.param(case, marks=pytest.mark.nightly) for case in ("yolov8m", "yolov8l-seg", "yolov8x")]
"""Cases that differ from the others in depth and width alone: of YOLOv8m every test run looks at the stages."""
ALL = ["yolov8n", "yolov8n-seg", "yolov8s-seg", "yolov8m", *DEEP[1:]]


def load(case: str) -> DenseDetector:
    """The detector of a case, with its weights."""
    with torch.device("meta"):
        model = build_model(compose(f"ultralytics_{case.replace('-', '_')}"), class_names(80))
    load_weights(model, weights(f"ultralytics/{case}"), "ultralytics")
    assert isinstance(model, DenseDetector)
    return model.eval()


def as_the_original_gives_it(outputs: YoloOutputs) -> Tensor:
    """Centre, size, scores and coefficients of each anchor point, in one (N, 4 + K + C, M)."""
    top_left, bottom_right = outputs.boxes[..., :2], outputs.boxes[..., 2:]
    parts = [(top_left + bottom_right) / 2, bottom_right - top_left, outputs.logits.sigmoid()]
    if outputs.coefficients is not None:
        parts.append(outputs.coefficients)
    return torch.cat(parts, dim=2).transpose(1, 2)


def stages(detector: DenseDetector, images: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Every stage by the name it has in the answers."""
    features = detector.backbone(images)
    pyramid = detector.neck(features)
    head = detector.dense_head
    assert isinstance(head, YoloHead)
    maps = head.maps(pyramid)
    for i in range(3):
        yield f"c{i + 3}", features[i]
        yield f"p{i + 3}", pyramid[i]
        yield f"reg_{i}", maps.box_dist[i]
        yield f"cls_{i}", maps.logits[i]
        if maps.coefficients is not None:
            yield f"mask_{i}", maps.coefficients[i]
    if maps.prototypes is not None:
        yield "proto", maps.prototypes
    yield "decoded", as_the_original_gives_it(head.decode(maps))


@torch.inference_mode()
def assert_stages(detector: DenseDetector, case: str, tolerance: float = 1e-4) -> None:
    answers = golden(f"ultralytics/{case}")
    shape = tuple(answers["shape"].astype(int))
    images = torch.from_numpy(np.random.RandomState(0).standard_normal(shape).astype(np.float32))
    for name, values in stages(detector, images):
        assert_stage(name, values, answers, tolerance)
    assert detector.has_masks == ("proto/shape" in answers)


@pytest.mark.parametrize("case", ALL)
def test_stages(case: str) -> None:
    assert_stages(load(case), case)


@pytest.mark.parametrize("case", ["yolov8n", "yolov8n-seg"])
def test_stages_folded_and_channels_last(case: str) -> None:
    detector = load(case)
    fold_batch_norm(detector)
    detector.use_channels_last()
    # The drawn box logits are large: of two correct programs a folded one is off by up to 0.05 px there.
    assert_stages(detector, case, tolerance=5e-4)


def test_weights_of_half_precision_are_widened() -> None:
    case = "ultralytics/yolov8n"
    assert weights(case)["model.0.conv.weight"].dtype == torch.float16
    kinds = {tensor.dtype for tensor in load("yolov8n").state_dict().values()}
    assert kinds == {torch.float32, torch.int64}
