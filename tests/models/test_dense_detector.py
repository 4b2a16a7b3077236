"""A one-stage detector as a whole: it builds, learns, and finds what it learnt."""

from __future__ import annotations

import pytest
import torch
from class_names import class_names

from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.data.detections import Detections
from zoo.models.detectors.dense import DenseDetector
from zoo.models.heads.retina import RetinaHead
from zoo.types import Sample, Target

SMALL = ["detector=dense", "backbone=resnet10_small", "neck=fpn64_p3", "head=retinanet_small"]
BOXES = torch.tensor([[16.0, 16, 48, 48], [72, 40, 112, 72]])


def make(classes: int = 2) -> DenseDetector:
    torch.manual_seed(0)
    model = build_model(compose("mmdet_faster_rcnn_r50_fpn_1x", SMALL), class_names(classes))
    assert isinstance(model, DenseDetector)
    return model


def head_of(model: DenseDetector) -> RetinaHead:
    assert isinstance(model.dense_head, RetinaHead)
    return model.dense_head


def scene(scale: float = 1.0) -> Sample:
    """A red and a green rectangle on grey, 96 x 128 pixels."""
    pixels = torch.full((96, 128, 3), 110, dtype=torch.uint8)
    for (x1, y1, x2, y2), channel in zip(BOXES.int().tolist(), (2, 1), strict=True):
        pixels[y1:y2, x1:x2] = 20
        pixels[y1:y2, x1:x2, channel] = 230
    return Sample(pixels, 1, (round(96 / scale), round(128 / scale)), (scale, scale))


TARGET = Target(BOXES, torch.tensor([0, 1]))


def test_builds_without_storage() -> None:
    with torch.device("meta"):
        model = build_model(compose("mmdet_faster_rcnn_r50_fpn_1x", SMALL), class_names(8))
    assert all(parameter.is_meta for parameter in model.parameters())
    assert sum(parameter.numel() for parameter in model.parameters()) < 1_000_000
    assert {key.split(".")[0] for key in model.state_dict()} == {"backbone", "neck", "dense_head"}


def test_levels_of_neck_and_anchors_agree() -> None:
    model = make()
    features = model.extract(torch.zeros(1, 3, 96, 128))
    assert tuple(128 // feature.shape[3] for feature in features) == head_of(model).strides


def test_training_gives_named_losses_with_gradients() -> None:
    model = make()
    losses = model.train()([scene(), scene()], [TARGET, TARGET])
    assert list(losses) == ["loss_cls", "loss_bbox"]
    assert all(loss.shape == () and bool(loss.isfinite()) for loss in losses.values())
    torch.autograd.backward(list(losses.values()))
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


def test_losses_are_float32_under_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = make().train()([scene()], [TARGET])
    assert {loss.dtype for loss in losses.values()} == {torch.float32}


def test_losses_fall() -> None:
    model = make().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    totals = []
    for _ in range(12):
        optimizer.zero_grad()
        total = torch.stack(list(model([scene()], [TARGET]).values())).sum()
        total.backward()  # type: ignore[no-untyped-call] # torch's own
        optimizer.step()
        totals.append(float(total.detach()))
    assert totals[-1] < 0.8 * totals[0]


@pytest.mark.long
def test_it_finds_what_it_has_learnt() -> None:
    model = make().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(80):
        optimizer.zero_grad()
        total = torch.stack(list(model([scene()], [TARGET]).values())).sum()
        total.backward()  # type: ignore[no-untyped-call] # torch's own
        optimizer.step()
    with torch.inference_mode():
        (found,) = model.eval()([scene(scale=2.0)])
    assert isinstance(found, Detections)
    best = [int((found.labels == label).nonzero()[0]) for label in (0, 1)]
    assert torch.allclose(found.boxes[best], BOXES / 2, atol=4)


def test_eval_gives_detections_in_original_pixels() -> None:
    model = make()
    torch.nn.init.constant_(head_of(model).logits.bias, 0)  # type: ignore[arg-type] # it has a bias
    with torch.inference_mode():
        (found,) = model.eval()([scene(scale=2.0)])
    assert isinstance(found, Detections)
    assert len(found) == 100
    assert found.masks is None
    assert bool((found.boxes >= 0).all())
    assert bool((found.boxes <= torch.tensor([64, 48, 64, 48])).all())
    assert bool((found.scores.diff() <= 0).all())
