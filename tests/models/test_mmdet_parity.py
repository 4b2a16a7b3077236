"""Every network stage of every architecture agrees with mmdetection on the same weights and input."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch
from mmdet_cases import ARCHITECTURES, load
from parity import GOLDEN, assert_stage, golden
from torch import Tensor

from zoo.models.backbones.resnet import NextStage
from zoo.models.detectors.base import Detector
from zoo.models.detectors.dense import DenseDetector
from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.layers.conv import fold_batch_norm

CASE = "faster_rcnn_r50_fpn_1x_coco"
ANSWERED = [case for case in ARCHITECTURES if (GOLDEN / "mmdet" / f"{case}.npz").exists()]
SAME = {
    "faster_rcnn_r50_caffe_fpn_mstrain_1x_coco-person",
    "faster_rcnn_r101_caffe_fpn_1x_coco",
    "faster_rcnn_r50_fpg_crop640_50e_coco",
    "mask_rcnn_r50_fpg-chn128_crop640_50e_coco",
}
"""Whose parts all stand in other cases too: these are `nightly`."""
ROIS = [[0, 10, 10, 200, 150], [0, 50, 20, 300, 240], [1, 0, 0, 64, 64], [1, 100, 100, 140, 200], [1, 5, 5, 315, 250]]


def synthetic_input(shape: npt.NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.random.RandomState(0).standard_normal(tuple(shape.astype(int))).astype(np.float32))


def stages(detector: Detector, images: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Every stage by the name it has in the answers."""
    features = detector.backbone(images)
    maps = {f"c{(images.shape[3] // x.shape[3]).bit_length() - 1}": x for x in features}
    if isinstance(detector, TwoStageDetector) and len(features) == 1:  # C4 and DC5 both are of stride 16
        maps = {"c4" if features[0].shape[1] == 1024 else "c5": features[0]}
    yield from maps.items()
    pyramid = detector.neck(features)
    names = list(maps)
    if len(pyramid) > 1:
        names = [f"p{(images.shape[3] // x.shape[3]).bit_length() - 1}" for x in pyramid]
        yield from zip(names, pyramid, strict=True)
    if isinstance(detector, DenseDetector):
        outputs = detector.dense_head(pyramid)
        for name, logits, deltas in zip(names, outputs.logits, outputs.deltas, strict=True):
            yield f"cls_{name}", logits
            yield f"reg_{name}", deltas
        return
    assert isinstance(detector, TwoStageDetector)
    outputs = detector.rpn_head(pyramid)
    for name, logits, deltas in zip(names, outputs.logits, outputs.deltas, strict=True):
        yield f"rpn_cls_{name}", logits
        yield f"rpn_reg_{name}", deltas
    yield from roi_stages(detector, pyramid)


def roi_stages(detector: TwoStageDetector, pyramid: tuple[Tensor, ...]) -> Iterator[tuple[str, Tensor]]:
    head, rois = detector.roi_head, torch.tensor(ROIS, dtype=torch.float32, device=pyramid[0].device)
    stage = head.last_stage
    pooled = stage.pooler(pyramid, rois)
    shared = stage.shared(pooled)
    class_logits, class_deltas = stage.box_head(shared)
    yield "roi_feat", pooled
    if isinstance(stage.shared, NextStage):
        yield "roi_shared", shared
    yield "roi_cls", class_logits
    yield "roi_reg", class_deltas
    if head.mask_head is not None and head.mask_pooler is not None:
        mask_pooled = head.mask_pooler(pyramid, rois)
        yield "roi_mask_feat", mask_pooled
        yield "roi_mask", head.mask_head(mask_pooled)


@torch.inference_mode()
def assert_stages(detector: Detector, case: str, part: str = "net", factor: float = 1.0) -> None:
    answers = golden(f"mmdet/{case}", part)
    expected = {name.split("/")[0] for name in answers} - {"shape"}
    seen = set()
    for name, values in stages(detector, synthetic_input(answers["shape"]) * factor):
        assert_stage(name, values, answers)
        seen.add(name)
    assert seen == expected


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=pytest.mark.nightly if "x101" in case or case in SAME else ()) for case in ANSWERED],
)
def test_stages(case: str) -> None:
    detector = load(case)
    assert_stages(detector, case)
    if golden(f"mmdet/{case}", "netx60"):  # networks that are fed values of that size
        assert_stages(detector, case, "netx60", factor=60)


def test_stages_folded_and_channels_last() -> None:
    detector = load(CASE)
    fold_batch_norm(detector)
    detector.use_channels_last()
    assert_stages(detector, CASE)
