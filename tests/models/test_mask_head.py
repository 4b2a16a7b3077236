"""The mask branch of a two-stage detector: head, wiring, loss, and the order of postprocessing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from class_names import class_names
from torch import nn

from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.data.detections import Detections
from zoo.data.rle import decode
from zoo.errors import UsageError
from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.heads.box_head import TwoFcBoxHead
from zoo.models.heads.mask_head import ConvMaskHead
from zoo.types import Sample, Target

SMALL = ["backbone=resnet10_small", "neck=fpn64", "head=mask_rcnn_small"]


def make(classes: int = 3) -> TwoStageDetector:
    torch.manual_seed(0)
    model = build_model(compose("mmdet_faster_rcnn_r50_fpn_1x", SMALL), class_names(classes))
    assert isinstance(model, TwoStageDetector)
    return model


@pytest.fixture(scope="module")
def detector() -> TwoStageDetector:
    return make()


def sample(height: int = 96, width: int = 128, scale: tuple[float, float] = (1.0, 1.0)) -> Sample:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    original = round(height / scale[1]), round(width / scale[0])
    return Sample(torch.from_numpy(pixels), 1, original, scale)


def target(height: int = 96, width: int = 128) -> Target:
    masks = torch.zeros(2, height, width, dtype=torch.uint8)
    masks[0, 10:50, 8:40] = 1
    masks[1, 30:70, 60:100] = 1
    boxes = torch.tensor([[8.0, 10, 40, 50], [60, 30, 100, 70]])
    return Target(boxes, torch.tensor([0, 2]), masks)


@pytest.mark.parametrize("norm", [False, True])
def test_head_doubles_the_size_and_gives_a_mask_a_class(norm: bool) -> None:
    head = ConvMaskHead(in_channels=6, num_classes=3, channels=4, norm=norm)
    assert head(torch.rand(5, 6, 14, 14)).shape == (5, 3, 28, 28)
    biases = {name for name, _ in head.named_parameters() if name.startswith("convs") and "norm" not in name}
    names = [f"convs.{i}.conv.weight" for i in range(4)]
    plain = [f"convs.{i}.{value}" for i in range(4) for value in ("weight", "bias")]
    assert biases == set(names if norm else plain)
    assert any(isinstance(module, nn.BatchNorm2d) for module in head.modules()) == norm


def test_key_names() -> None:
    keys = {key.split(".")[0] for key in ConvMaskHead(6, 3, 4).state_dict()}
    assert keys == {"convs", "upsample", "logits"}
    assert {key.split(".")[1] for key in make().state_dict() if key.startswith("roi_head")} == {"stages", "mask_head"}


def test_a_box_only_model_has_no_mask_head() -> None:
    with torch.device("meta"):
        overrides = [*SMALL[:2], "head=faster_rcnn_small"]
        model = build_model(compose("mmdet_faster_rcnn_r50_fpn_1x", overrides), class_names(3))
    assert not any("mask" in key for key in model.state_dict())


def test_small_models_stay_small() -> None:
    with torch.device("meta"):
        model = build_model(compose("mmdet_faster_rcnn_r50_fpn_1x", SMALL), class_names(8))
    assert sum(parameter.numel() for parameter in model.parameters()) < 1_000_000


def test_big_sisters_differ_in_what_the_papers_say() -> None:
    head = compose("mmdet_faster_rcnn_r50_fpn_1x", ["head=mask_rcnn"])["head"]
    assert head["roi_head"]["mask_head"]["channels"] == 256
    assert head["roi_head"]["stages"]["first"]["assigner"]["min_pos_iou"] == 0.5
    assert head["rpn_head"] == compose("mmdet_faster_rcnn_r50_fpn_1x")["head"]["rpn_head"]


def test_training_gives_a_mask_loss_with_gradients(detector: TwoStageDetector) -> None:
    losses = detector.train()([sample()], [target()])
    assert list(losses) == ["loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox", "loss_mask"]
    detector.zero_grad()
    torch.autograd.backward(list(losses.values()))
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


def test_mask_loss_of_an_undecided_head_is_log_2(detector: TwoStageDetector) -> None:
    model = make()
    assert isinstance(model.roi_head.mask_head, ConvMaskHead)
    nn.init.zeros_(model.roi_head.mask_head.logits.weight)
    losses = model.train()([sample()], [target()])
    assert float(losses["loss_mask"].detach()) == pytest.approx(math.log(2), rel=1e-6)


def test_mask_loss_looks_at_the_own_class_only() -> None:
    model = make()
    head = model.roi_head.mask_head
    assert isinstance(head, ConvMaskHead)
    nn.init.zeros_(head.logits.weight)
    head.logits.bias.data = torch.tensor([0.0, 99, 0])  # type: ignore[union-attr] # it has a bias; no object is of class 1
    losses = model.train()([sample()], [target()])
    assert float(losses["loss_mask"].detach()) == pytest.approx(math.log(2), rel=1e-6)


def test_without_objects_the_mask_loss_is_zero_and_part_of_the_graph(detector: TwoStageDetector) -> None:
    nothing = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 96, 128, dtype=torch.uint8))
    losses = detector.train()([sample()], [nothing])
    assert float(losses["loss_mask"].detach()) == 0
    detector.zero_grad()
    losses["loss_mask"].backward()
    assert isinstance(detector.roi_head.mask_head, ConvMaskHead)
    gradient = detector.roi_head.mask_head.upsample.weight.grad
    assert gradient is not None
    assert not gradient.any()


def test_masks_are_predicted_on_boxes_of_the_input() -> None:
    overrides = [*SMALL, "head.roi_head.detections.nms_frame=original"]
    with torch.device("meta"), pytest.raises(UsageError, match="suppressed in the input's pixels"):
        build_model(compose("mmdet_faster_rcnn_r50_fpn_1x", overrides), class_names(3))


def test_a_mask_head_needs_masks(detector: TwoStageDetector) -> None:
    wanted = target()
    with pytest.raises(ValueError, match="targets with masks"):
        detector.train()([sample()], [Target(wanted.boxes, wanted.labels)])


def test_targets_travel_with_their_masks() -> None:
    moved = target().to(torch.device("meta"))
    assert moved.masks is not None
    assert moved.masks.is_meta


@torch.inference_mode()
def find(model: TwoStageDetector, image: Sample) -> Detections:
    (found,) = model.eval()([image])
    assert isinstance(found, Detections)
    return found


def eager() -> TwoStageDetector:
    """A detector that finds something everywhere, and whose masks fill their boxes."""
    model = make()
    head = model.roi_head.mask_head
    assert isinstance(head, ConvMaskHead)
    nn.init.zeros_(head.logits.weight)
    nn.init.constant_(head.logits.bias, 9)  # type: ignore[arg-type] # it has a bias
    return model


def test_every_detection_has_a_mask_on_its_box() -> None:
    found = find(eager(), sample(scale=(2.0, 1.5)))
    assert len(found) > 0
    assert found.masks is not None
    assert len(found.masks) == len(found)
    for box, mask in zip(found.boxes.round().tolist(), found.masks, strict=True):
        assert mask["size"] == [64, 64]
        filled = np.zeros((64, 64), dtype=np.uint8)
        filled[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = 1
        differing = int((decode(mask) != filled).sum())
        assert differing <= 2 * (box[3] - box[1] + box[2] - box[0])  # at most the border


def test_scale_is_taken_out_after_the_suppression() -> None:
    model, image = eager(), sample(scale=(2.0, 1.5))
    with torch.inference_mode():
        batch = model.eval().prepare([image])
        outputs = model.network(batch)
    assert outputs.detections is not None
    found = find(model, image)
    assert torch.equal(found.boxes, outputs.detections[0].boxes / torch.tensor([2.0, 1.5, 2.0, 1.5]))
    assert torch.equal(found.scores, outputs.detections[0].scores)


def test_nothing_found() -> None:
    model = eager()
    assert isinstance(model.roi_head.last_stage.box_head, TwoFcBoxHead)
    model.roi_head.last_stage.box_head.logits.bias.data = torch.tensor([0.0, 0, 0, 99])  # background
    found = find(model, sample())
    assert len(found) == 0
    assert found.masks == []
