"""A two-stage detector in training mode, on tiny images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from class_names import class_names
from geometries import geometry
from small_heads import labels_of, make_rpn

from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.data.detections import Detections
from zoo.models.anchors import CentredAnchors
from zoo.models.assigners.max_iou import IGNORED, NEGATIVE, MaxIoUAssigner
from zoo.models.boxes import BoxConvention
from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.heads.anchor_head import AnchorOutputs, ValidAnchors
from zoo.models.heads.roi_targets import roi_targets
from zoo.models.heads.rpn import RpnHead
from zoo.models.losses.regression import BoundedIoULoss, GIoULoss, IoULoss, L1Loss, SmoothL1Loss
from zoo.models.samplers import AllSampler
from zoo.types import FeatureSpec, Sample, Size, Target

LOSSES = ["loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox"]
OBJECTS = Target(torch.tensor([[4.0, 4, 40, 50], [30, 10, 60, 30]]), torch.tensor([0, 2]))
NO_OBJECTS = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))


@pytest.fixture(scope="module")
def detector() -> TwoStageDetector:
    torch.manual_seed(0)
    model = build_model(compose("mmdet_faster_rcnn_r50_fpn_1x"), class_names(3))
    assert isinstance(model, TwoStageDetector)
    return model


def samples(*sizes: Size) -> list[Sample]:
    rng = np.random.default_rng(0)
    pixels = [torch.from_numpy(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]
    return [Sample(x, i, (x.shape[0], x.shape[1]), (1.0, 1.0)) for i, x in enumerate(pixels)]


def test_training_gives_named_losses_with_gradients(detector: TwoStageDetector) -> None:
    losses = detector.train()(samples((64, 64), (50, 96)), [OBJECTS, OBJECTS])
    assert list(losses) == LOSSES
    assert all(loss.shape == () and bool(loss > 0) for loss in losses.values())
    detector.zero_grad()
    torch.autograd.backward(list(losses.values()))
    for name, parameter in detector.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.grad is None or bool(parameter.grad.isfinite().all()), name


def test_images_without_objects_are_all_background(detector: TwoStageDetector) -> None:
    losses = detector.train()(samples((64, 64)), [NO_OBJECTS])
    assert float(losses["loss_rpn_bbox"].detach()) == float(losses["loss_bbox"].detach()) == 0
    assert float(losses["loss_cls"].detach()) > 0
    detector.zero_grad()
    torch.autograd.backward(list(losses.values()))
    gradient = detector.roi_head.last_stage.box_head.deltas.weight.grad
    assert gradient is not None  # every parameter takes part, as data-parallel training needs it
    assert not gradient.any()


def test_losses_are_float32_under_autocast(detector: TwoStageDetector) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = detector.train()(samples((64, 64)), [OBJECTS])
    assert {loss.dtype for loss in losses.values()} == {torch.float32}


def test_training_repeats_with_the_seed(detector: TwoStageDetector) -> None:
    def step() -> list[float]:
        torch.manual_seed(1)
        with torch.no_grad():
            return [float(loss) for loss in detector.train()(samples((96, 96)), [OBJECTS]).values()]

    assert step() == step()


def test_a_prepared_batch_is_as_good_as_its_samples(detector: TwoStageDetector) -> None:
    images = samples((64, 96))
    with torch.inference_mode():
        (found,) = detector.eval()(images)
        (same,) = detector(detector.prepare(images))
    assert isinstance(found, Detections)
    assert torch.equal(found.boxes, same.boxes)


@pytest.mark.parametrize("targets", [None, [], [OBJECTS, OBJECTS]])
def test_training_needs_a_target_an_image(detector: TwoStageDetector, targets: list[Target] | None) -> None:
    with pytest.raises(ValueError, match="needs 1 targets"):
        detector.train()(samples((64, 64)), targets)


def test_training_has_its_own_number_of_proposals(detector: TwoStageDetector) -> None:
    head = detector.rpn_head
    assert (head.proposals.pre_nms_top_n, head.proposals.post_nms_top_n) == (1000, 1000)
    assert (head.training_proposals.pre_nms_top_n, head.training_proposals.post_nms_top_n) == (2000, 1000)


@pytest.mark.parametrize(
    ("name", "kind", "weight"),
    [
        ("l1", L1Loss, 1),
        ("smooth_l1", SmoothL1Loss, 1),
        ("iou", IoULoss, 10),
        ("giou", GIoULoss, 10),
        ("bounded_iou", BoundedIoULoss, 10),
    ],
)
def test_the_composition_chooses_the_box_loss(name: str, kind: type, weight: float) -> None:
    with torch.device("meta"):
        model = build_model(compose("mmdet_faster_rcnn_r50_fpn_1x", [f"loss={name}"]), class_names(3))
    assert isinstance(model, TwoStageDetector)
    box_loss = model.roi_head.last_stage.box_loss
    assert type(box_loss) is kind
    assert box_loss.weight == weight
    assert type(model.rpn_head.box_loss) is L1Loss


def tiny_rpn(valid_anchors: ValidAnchors = "padded") -> RpnHead:
    """One anchor a cell, 8 x 8 pixels, on one level of stride 8."""
    return make_rpn([FeatureSpec(1, 8)], CentredAnchors(ratios=[1.0], scales=[1]), valid_anchors=valid_anchors)


def anchor_outputs(height: int, width: int) -> AnchorOutputs:
    """Logits and deltas of 0."""
    return AnchorOutputs([torch.zeros(1, 1, height, width)], [torch.zeros(1, 4, height, width)])


def test_cells_in_the_padding_of_a_batch_are_not_trained_on() -> None:
    # 3 x 4 cells; the image itself reaches 17 pixels down and 16 across: 3 rows and 2 columns of them.
    head, cells = tiny_rpn(), [(3, 4)]
    target = Target(torch.tensor([[4.0, 4, 12, 12]]), torch.tensor([0]))  # exactly the anchor of the cell (1, 1)
    wanted = head.assign(cells, [target], [geometry((17, 16))], torch.device("cpu"))
    background = [NEGATIVE, NEGATIVE, IGNORED, IGNORED]
    assert labels_of(wanted, 12).view(3, 4).tolist() == [background, [NEGATIVE, 0, IGNORED, IGNORED], background]
    assert (wanted.positive.tolist(), wanted.boxes.tolist()) == ([5], [[4, 4, 12, 12]])


def test_all_anchors_may_be_trained_on() -> None:
    wanted = tiny_rpn("all").assign([(3, 4)], [NO_OBJECTS], [geometry((17, 16))], torch.device("cpu"))
    assert bool((labels_of(wanted, 12) == NEGATIVE).all())


def test_anchors_may_have_to_lie_inside_the_image() -> None:
    # Anchors reach 4 pixels around multiples of 8, and the image to 28 down and 20 across: the far edges touch those
    # of the fourth row, which is outside, and of the third column, likewise; padding does not count.
    head, cells = tiny_rpn("inside"), [(4, 4)]
    wanted = head.assign(cells, [NO_OBJECTS], [geometry((28, 20), padded_size=(32, 32))], torch.device("cpu"))
    outside, inside = [IGNORED] * 4, [IGNORED, NEGATIVE, IGNORED, IGNORED]
    assert labels_of(wanted, 16).view(4, 4).tolist() == [outside, inside, inside, outside]


def test_an_image_smaller_than_every_anchor_trains_nothing() -> None:
    head = tiny_rpn("inside")
    target = Target(torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([0]))
    losses = head.losses(anchor_outputs(1, 1), [target], [geometry((5, 5), padded_size=(8, 8))])
    assert [float(loss) for loss in losses.values()] == [0, 0]


def test_rpn_losses_are_divided_by_all_that_is_sampled() -> None:
    # Logits 0 cost log 2 an anchor. The one object is its anchor moved by (2, 0): dx = 1/4.
    head = tiny_rpn()
    target = Target(torch.tensor([[6.0, 4, 14, 12]]), torch.tensor([0]))
    losses = head.losses(anchor_outputs(3, 4), [target], [geometry((24, 32))])
    assert float(losses["loss_rpn_cls"]) == pytest.approx(np.log(2), rel=1e-5)
    assert float(losses["loss_rpn_bbox"]) == pytest.approx(0.25 / 12, rel=1e-5)


def test_rpn_divisor_counts_at_least_one_of_each_kind() -> None:
    losses = tiny_rpn().losses(anchor_outputs(3, 4), [NO_OBJECTS], [geometry((24, 32))])
    assert float(losses["loss_rpn_cls"]) == pytest.approx(12 * np.log(2) / 13, rel=1e-5)


def test_ground_truth_of_one_pixel_is_no_region_where_pixels_are_skipped() -> None:
    target = Target(torch.tensor([[5.0, 5, 5, 5], [0, 0, 9, 9]]), torch.tensor([1, 2]))
    for skip, labels in ((True, [2, 3]), (False, [1, 2, 3])):
        assigner = MaxIoUAssigner(0.5, 0.5, convention=BoxConvention(inclusive=True), skip_pixels=skip)
        (chosen,) = roi_targets([torch.tensor([[20.0, 20, 30, 30]])], [target], assigner, AllSampler(), num_classes=3)
        assert chosen.labels.tolist() == labels


def test_ground_truth_comes_before_the_proposals(detector: TwoStageDetector) -> None:
    proposals = torch.tensor([[200.0, 200, 220, 220], [4, 4, 40, 49]])
    (chosen,) = detector.roi_head.last_stage.assign([proposals], [OBJECTS], [geometry((64, 64))])
    assert torch.equal(chosen.regions, torch.cat((OBJECTS.boxes, proposals.flip(0))))
    assert chosen.labels.tolist() == [0, 2, 0, 3]
    assert torch.equal(chosen.boxes, OBJECTS.boxes[[0, 1, 0]])
