"""Every architecture of mmdetection: it publishes its maps, finds, and learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet_cases import ARCHITECTURES, build, classes
from torch import nn

from zoo.data.detections import Detections
from zoo.models.detectors.base import Detector
from zoo.models.layers.conv import norms
from zoo.models.layers.skip_init import SkipInit
from zoo.types import Sample, Target

KINDS = {"faster_rcnn_r50_fpn_1x_coco"}
"""The others differ in depth and width, and of C4 every region costs a stage; dense heads learn in YOLO's own test."""
TRAINED = [pytest.param(case, marks=() if case in KINDS else pytest.mark.nightly) for case in ARCHITECTURES]

HEIGHT, WIDTH = 64, 96
BOXES = torch.tensor([[8.0, 8, 48, 48], [56, 16, 88, 60]])
FEW = (
    "head.rpn_head.proposals.post_nms_top_n=16",
    "head.rpn_head.training_proposals.post_nms_top_n=16",
    "head.roi_head.stages.first.sampler.num_samples=16",
)
"""Overrides of two-stage architectures for small images."""


@pytest.mark.parametrize("case", ARCHITECTURES)
def test_maps_are_what_is_published(case: str) -> None:
    with SkipInit("meta"):
        detector = build(case).eval()
        features = detector.backbone(torch.empty(1, 3, 128, 256))
        pyramid = detector.neck(features)
    for feature, spec in zip(features, detector.backbone.out_specs, strict=True):  # type: ignore[arg-type] # a tuple
        assert tuple(feature.shape) == (1, spec.channels, 128 // spec.stride, 256 // spec.stride)
    assert len(pyramid) == (1 if "c4" in case or "dc5" in case else 5)


@pytest.mark.parametrize("case", ARCHITECTURES)
def test_normalisation_in_training(case: str) -> None:
    with SkipInit("meta"):
        detector = build(case).train()
    modules = [(name, module) for name, module in detector.named_modules() if isinstance(module, nn.BatchNorm2d)]
    fixed = {name for name, module in modules if not module.training}
    learnt = {name for name, module in modules if module.weight.requires_grad}
    first = {name for name, _ in modules if name.startswith(("backbone.stem", "backbone.layer1"))}
    everything = {name for name, _ in modules}
    assert fixed == (first if "fpg" in case else everything)  # the others use their running statistics
    assert learnt == (set() if "caffe" in case or "32x8d" in case else everything - first)


def scene(seed: int) -> Sample:
    """A red and a green rectangle on noise."""
    pixels = torch.from_numpy(np.random.default_rng(seed).integers(90, 130, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    for (x1, y1, x2, y2), channel in zip(BOXES.int().tolist(), (2, 1), strict=True):
        pixels[y1:y2, x1:x2, channel] = 230
    return Sample(pixels, seed, (HEIGHT, WIDTH), (1.0, 1.0))


def target(num_classes: int) -> Target:
    masks = torch.zeros(2, HEIGHT, WIDTH, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, BOXES.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = 1
    return Target(BOXES, torch.tensor([0, min(1, num_classes - 1)]), masks)


def give_statistics(detector: Detector, images: list[Sample]) -> None:
    """Running statistics of these images: a normalisation that is frozen before it has any lets values explode."""
    for norm in norms(detector.backbone):
        norm.train()
        norm.momentum = None  # the plain average of all batches, here one
    with torch.no_grad():
        detector.backbone(detector.prepare(images).images)
    for norm in norms(detector.backbone):
        norm.momentum = 0.1


@pytest.mark.long
@pytest.mark.parametrize("case", TRAINED)
def test_losses_fall_and_detections_come(case: str) -> None:
    torch.manual_seed(0)
    detector = build(case, () if case.startswith("retinanet") else FEW)
    images, targets = [scene(0), scene(1)], [target(len(classes(case)))] * 2
    give_statistics(detector, images)
    optimizer = torch.optim.AdamW([p for p in detector.parameters() if p.requires_grad], lr=2e-5)
    totals = []
    for _ in range(3):
        torch.manual_seed(1)  # the same samples in each step: what falls is the loss, not the luck
        losses = detector.train()(images, targets)
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call] # torch's own
        optimizer.step()
        totals.append(float(total.detach()))
    assert np.isfinite(totals).all()
    assert totals[-1] < totals[0]
    with torch.inference_mode():
        (found,) = detector.eval()([scene(2)])
    assert isinstance(found, Detections)
    assert bool(found.boxes.isfinite().all())
    assert (found.masks is not None) == case.startswith("mask")
