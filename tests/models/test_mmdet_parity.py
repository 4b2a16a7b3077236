"""Every network stage agrees with mmdetection on the same weights and input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from parity import assert_stage, golden, weights

from zoo.compose import build_model, compose, load_weights
from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.layers.conv import fold_batch_norm

CASE = "mmdet/faster_rcnn_r50_fpn_1x_coco"
ROIS = [[0, 10, 10, 200, 150], [0, 50, 20, 300, 240], [1, 0, 0, 64, 64], [1, 100, 100, 140, 200], [1, 5, 5, 315, 250]]


@pytest.fixture(scope="module")
def detector() -> TwoStageDetector:
    with torch.device("meta"):
        model = build_model(compose("mmdet_faster_rcnn_r50_fpn_1x"), num_classes=80)
    load_weights(model, weights(CASE), "mmdet")
    assert isinstance(model, TwoStageDetector)
    return model.eval()


def synthetic_input(shape: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.random.RandomState(0).standard_normal(tuple(shape.astype(int))).astype(np.float32))


@torch.inference_mode()
def assert_stages(detector: TwoStageDetector) -> None:
    answers = golden(CASE)
    features = detector.backbone(synthetic_input(answers["shape"]))
    pyramid = detector.neck(features)
    logits, deltas = detector.rpn_head(pyramid)
    for name, values in zip(("c2", "c3", "c4", "c5"), features, strict=True):
        assert_stage(name, values, answers)
    for i, name in enumerate(("p2", "p3", "p4", "p5", "p6")):
        assert_stage(name, pyramid[i], answers)
        assert_stage(f"rpn_cls_{name}", logits[i], answers)
        assert_stage(f"rpn_reg_{name}", deltas[i], answers)
    pooled = detector.roi_head.pooler(pyramid, torch.tensor(ROIS, dtype=torch.float32))
    class_logits, class_deltas = detector.roi_head.box_head(pooled)
    assert_stage("roi_feat", pooled, answers)
    assert_stage("roi_cls", class_logits, answers)
    assert_stage("roi_reg", class_deltas, answers)


def test_stages(detector: TwoStageDetector) -> None:
    assert_stages(detector)


def test_stages_folded_and_channels_last(detector: TwoStageDetector) -> None:
    fold_batch_norm(detector)
    detector.use_channels_last()
    assert_stages(detector)
