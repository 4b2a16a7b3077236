"""Mask R-CNN and RetinaNet on Feature Pyramid Grids agree with mmdetection, stage by stage."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from parity import SHARED, assert_stage, golden, needs_coco, needs_shared, weights

from zoo.compose import build_model, compose, load_weights
from zoo.data.mask_targets import decode
from zoo.models.boxes import pairwise_iou
from zoo.models.detectors.base import Detector
from zoo.models.detectors.one_stage import OneStageDetector
from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.types import Detections

pytestmark = [pytest.mark.slow, needs_shared]

MASK_RCNN = "mmdet/mask_rcnn_r50_fpg_crop640_50e_coco"
RETINANET = "mmdet/retinanet_r50_fpg_crop640_50e_coco"
PARTS = {
    MASK_RCNN: ["neck=fpg", "head=mask_rcnn_norm", "protocol.normalize.divisor=64"],
    RETINANET: ["detector=one_stage", "neck=fpg_p3", "head=retinanet_norm", "protocol.normalize.divisor=128"],
}
SIZE = ["protocol.transform.long=640", "protocol.transform.short=640"]
ROIS = [[0, 10, 10, 200, 150], [0, 50, 20, 300, 240], [1, 0, 0, 64, 64], [1, 100, 100, 140, 200], [1, 5, 5, 315, 250]]


def load(case: str) -> Detector:
    with torch.device("meta"):
        model = build_model(compose("mmdet_faster_rcnn_r50_fpn_1x", [*PARTS[case], *SIZE]), num_classes=80)
    load_weights(model, weights(case), "mmdet")
    return model.eval()


def run_backbone_and_neck(model: Detector, case: str, names: tuple[str, ...]) -> tuple[torch.Tensor, ...]:
    answers = golden(case)
    shape = tuple(answers["shape"].astype(int))
    images = torch.from_numpy(np.random.RandomState(0).standard_normal(shape).astype(np.float32))
    features = model.backbone(images)
    pyramid: tuple[torch.Tensor, ...] = model.neck(features)
    for name, values in zip(("c2", "c3", "c4", "c5", *names), (*features, *pyramid), strict=True):
        assert_stage(name, values, answers)
    return pyramid


@torch.inference_mode()
def test_mask_rcnn() -> None:
    model, answers = load(MASK_RCNN), golden(MASK_RCNN)
    assert isinstance(model, TwoStageDetector)
    names = ("p2", "p3", "p4", "p5", "p6")
    pyramid = run_backbone_and_neck(model, MASK_RCNN, names)
    for name, logits, deltas in zip(names, *model.rpn_head(pyramid), strict=True):
        assert_stage(f"rpn_cls_{name}", logits, answers)
        assert_stage(f"rpn_reg_{name}", deltas, answers)
    head = model.roi_head
    assert head.mask_head is not None
    rois = torch.tensor(ROIS, dtype=torch.float32)
    pooled, mask_pooled = head.pooler(pyramid, rois), head.mask_pooler(pyramid, rois)
    class_logits, class_deltas = head.box_head(pooled)
    assert_stage("roi_feat", pooled, answers)
    assert_stage("roi_cls", class_logits, answers)
    assert_stage("roi_reg", class_deltas, answers)
    assert_stage("roi_mask_feat", mask_pooled, answers)
    assert_stage("roi_mask", head.mask_head(mask_pooled), answers)


@torch.inference_mode()
def test_retinanet() -> None:
    model, answers = load(RETINANET), golden(RETINANET)
    assert isinstance(model, OneStageDetector)
    names = ("p3", "p4", "p5", "p6", "p7")
    pyramid = run_backbone_and_neck(model, RETINANET, names)
    for name, logits, deltas in zip(names, *model.dense_head(pyramid), strict=True):
        assert_stage(f"cls_{name}", logits, answers)
        assert_stage(f"reg_{name}", deltas, answers)


@needs_coco
@pytest.mark.parametrize("case", [MASK_RCNN, RETINANET])
@torch.inference_mode()
def test_detections_in_real_images(case: str) -> None:
    # The originals' own noise in float32 allows no less: scores to 1e-3, masks to 2 pixels.
    model, answers = load(case), golden(case)
    for image in ("000000520707", "000000349184"):
        (found,) = model([model.transform(SHARED / "coco" / "val2017" / f"{image}.jpg")])
        assert isinstance(found, Detections)
        boxes, scores, labels = (
            torch.from_numpy(answers[f"e2e/{image}/{name}"]) for name in ("boxes", "scores", "labels")
        )
        overlaps, partner = (pairwise_iou(boxes, found.boxes) * (labels[:, None] == found.labels)).max(dim=1)
        assert len(found) == len(boxes)
        assert float(overlaps.min()) >= 0.99
        assert float((scores - found.scores[partner]).abs().max()) <= 1e-3
        if found.masks is not None:
            areas = np.array([decode(found.masks[i]).sum() for i in partner.tolist()])
            assert np.abs(areas - answers[f"e2e/{image}/mask_area"]).max() <= 2
