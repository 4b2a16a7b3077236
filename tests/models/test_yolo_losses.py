"""YOLOv8's losses on worked examples."""

from __future__ import annotations

import dataclasses
import functools
import math

import pytest
import torch
from geometries import geometry
from torch import Tensor

from zoo.models.assigners.task_aligned import TaskAlignedAssigner
from zoo.models.heads.yolo import YoloHead
from zoo.models.heads.yolo_losses import YoloLosses
from zoo.models.heads.yolo_masks import PrototypeMasks
from zoo.models.heads.yolo_outputs import REG_MAX, BoxDistributions, YoloOutputs
from zoo.models.losses.masks import NO_INSTANCE, instance_map, prototype_mask_losses
from zoo.models.losses.regression import complete_iou, distribution_focal_loss
from zoo.models.selection import DetectionSelector
from zoo.types import Batch, FeatureSpec, ImageGeometry, Target


def box(*corners: float) -> Tensor:
    return torch.tensor([corners])


def test_complete_iou_of_equal_boxes_is_one() -> None:
    assert complete_iou(box(1, 2, 30, 40), box(1, 2, 30, 40)).item() == pytest.approx(1, abs=1e-6)


def test_complete_iou_pays_for_distance() -> None:
    # Unit squares 3 apart: no overlap; centres 3 apart, the enclosing box is 4 by 1.
    assert complete_iou(box(0, 0, 1, 1), box(3, 0, 4, 1)).item() == pytest.approx(-9 / 17, abs=1e-6)


def test_complete_iou_pays_for_the_aspect_ratio() -> None:
    # 4 x 1 in the middle of 4 x 4: IoU 1/4; v = 4 / pi^2 (atan 1 - atan 4)^2, weighted by v / (1 - IoU + v).
    v = 4 / math.pi**2 * (math.pi / 4 - math.atan(4)) ** 2
    expected = 1 / 4 - v * v / (3 / 4 + v)
    assert complete_iou(box(0, 1.5, 4, 2.5), box(0, 0, 4, 4)).item() == pytest.approx(expected, abs=1e-6)


def test_the_weight_of_the_aspect_ratio_gets_no_gradient() -> None:
    corners = box(0, 1.5, 4, 2.5).requires_grad_()
    (gradient,) = torch.autograd.grad(complete_iou(corners, box(0, 0, 4, 4)).sum(), corners)
    step, numeric = 1e-3, []
    v = 4 / math.pi**2 * (math.pi / 4 - math.atan(4)) ** 2
    for sign in (1, -1):
        high = 2.5 + sign * step
        height, offset = high - 1.5, (high + 1.5) / 2 - 2
        aspect = 4 / math.pi**2 * (math.pi / 4 - math.atan(4 / height)) ** 2
        numeric.append(height / 4 - offset**2 / 32 - aspect * v / (3 / 4 + v))
    assert gradient[0, 3].item() == pytest.approx((numeric[0] - numeric[1]) / (2 * step), rel=1e-3)


def test_distribution_focal_loss() -> None:
    # Of four equal numbers each has the surprise log 4; where one is certain, it costs its share of the rest.
    uniform = torch.zeros(1, 4, 4)
    torch.testing.assert_close(distribution_focal_loss(uniform, torch.full((1, 4), 1.25)), torch.tensor([math.log(4)]))
    logits = torch.tensor([0.0, 2.0, 1.0, 0.0]).expand(1, 4, 4)
    surprise = -logits[0, 0].log_softmax(dim=0)
    expected = 0.75 * surprise[1] + 0.25 * surprise[2]
    torch.testing.assert_close(distribution_focal_loss(logits, torch.full((1, 4), 1.25)), expected[None])


def test_distances_beyond_the_bins_count_as_the_last() -> None:
    logits = torch.randn(1, 4, 16, generator=torch.Generator().manual_seed(0))
    far, last = (distribution_focal_loss(logits, torch.full((1, 4), side)) for side in (40.0, 14.99))
    torch.testing.assert_close(far, last)
    torch.testing.assert_close(
        distribution_focal_loss(logits, torch.full((1, 4), -3.0)),
        distribution_focal_loss(logits, torch.zeros(1, 4)),
    )


def test_a_cell_belongs_to_the_smallest_object_that_covers_it() -> None:
    masks = torch.zeros(2, 8, 8, dtype=torch.uint8)
    masks[1] = 1
    masks[0, :4, :4] = 1
    assert instance_map(masks, (8, 8), (0, 0)).tolist() == [[0, 1], [1, 1]]


def test_a_cell_needs_two_of_its_four_middle_pixels() -> None:
    masks = torch.zeros(1, 4, 12, dtype=torch.uint8)
    masks[0, 1, 1:3] = 1  # two of the middle
    masks[0, 1, 5] = masks[0, :, 4] = 1  # one, and the border
    masks[0, 2, 9:11] = masks[0, 1, 9] = 1  # three
    assert instance_map(masks, (4, 12), (0, 0)).tolist() == [[0, NO_INSTANCE, 0]]


def test_masks_lie_where_their_image_does() -> None:
    masks = torch.ones(1, 4, 4, dtype=torch.uint8)
    expected = torch.full((4, 2), NO_INSTANCE)
    expected[2, 1] = 0
    assert torch.equal(instance_map(masks, (16, 8), offset=(4, 8)), expected)
    assert instance_map(masks[:0], (8, 4), (0, 0)).tolist() == [[NO_INSTANCE], [NO_INSTANCE]]


def test_mask_losses_count_inside_the_box_alone() -> None:
    prototypes = torch.stack((torch.ones(4, 4), torch.arange(16.0).reshape(4, 4)))
    instances = torch.full((4, 4), NO_INSTANCE)
    instances[1, 1] = 0
    losses = prototype_mask_losses(
        torch.tensor([[2.0, 0.0]]), prototypes, instances, box(0.5, 1.0, 2.5, 2.0), torch.tensor([0])
    )
    # Columns 1 and 2 of row 1, over an area of 2 cells; every logit is 2.
    hit, miss = math.log1p(math.exp(-2)), math.log1p(math.exp(2))
    torch.testing.assert_close(losses, torch.tensor([(hit + miss) / 2]))


def outputs(images: int = 1, prototypes: bool = False) -> YoloOutputs:
    """Four points at stride 8 in the middle of the quarters of 16 x 16 pixels, each with the box of its cell."""
    points = torch.tensor([[0.5, 0.5], [1.5, 0.5], [0.5, 1.5], [1.5, 1.5]])
    cells = torch.cat((points - 0.5, points + 0.5), dim=1)
    return YoloOutputs(
        boxes=(cells * 8).expand(images, 4, 4),
        logits=torch.zeros(images, 4, 2),
        coefficients=torch.zeros(images, 4, 1) if prototypes else None,
        prototypes=torch.zeros(images, 1, 4, 4) if prototypes else None,
        box_dist=BoxDistributions(torch.zeros(images, 4, 4, REG_MAX), points, torch.full((4, 1), 8.0)),
    )


def batch_of(*geometries: ImageGeometry, side: int = 16) -> Batch:
    return Batch(torch.empty(len(geometries), 3, side, side), list(geometries), list(range(len(geometries))))


def target(*boxes: list[float], masks: bool = False) -> Target:
    corners = torch.tensor(boxes).reshape(-1, 4)
    found = Target(corners, torch.zeros(len(boxes), dtype=torch.int64))
    if masks:
        found.masks = torch.ones(len(boxes), 16, 16, dtype=torch.uint8)
    return found


def losses(given: YoloOutputs, *targets: Target, **options: bool) -> dict[str, float]:
    criterion = YoloLosses(TaskAlignedAssigner(smallest_side=None), **options)
    named = criterion(given, targets, batch_of(*[geometry((16, 16))] * len(targets)))
    return {name: value.item() for name, value in named.items()}


def test_one_object_found_exactly() -> None:
    found = losses(outputs(), target([0, 0, 8, 8]))
    # One point with the target 1: every logit says 1/2, which costs log 2; every side is spread over 16 numbers.
    assert found["loss_box"] == pytest.approx(0, abs=1e-5)
    assert found["loss_cls"] == pytest.approx(0.5 * 8 * math.log(2), rel=1e-5)
    assert found["loss_dfl"] == pytest.approx(1.5 * math.log(16), rel=1e-5)


def test_images_without_objects_are_background() -> None:
    assert losses(outputs(), target()) == pytest.approx(
        {"loss_box": 0, "loss_cls": 0.5 * 8 * math.log(2), "loss_dfl": 0}
    )


def test_targets_are_shifted_by_the_borders_of_their_image() -> None:
    criterion = YoloLosses(TaskAlignedAssigner(smallest_side=None))
    # An image of 8 x 16 pixels in the middle of the square: its top is at row 4.
    placed = dataclasses.replace(geometry((8, 16)), offset=(0, 4))
    named = criterion(outputs(), [target([0, 0, 8, 8])], batch_of(placed))
    shifted = losses(outputs(), target([0, 4, 8, 12]))
    assert {name: value.item() for name, value in named.items()} == pytest.approx(shifted)


def test_masks_per_positive_or_per_image() -> None:
    # The first image has one positive, the second two; each pays log 2 a cell of its box, times a factor.
    targets = target([0, 0, 8, 8], masks=True), target([0, 0, 8, 8], [8, 8, 16, 16], masks=True)
    given = outputs(2, prototypes=True)
    assert given.coefficients is not None
    assert losses(given, *targets)["loss_seg"] == pytest.approx(7.5 * math.log(2), rel=1e-5)
    given.prototypes = torch.ones(2, 1, 4, 4)
    given.coefficients = torch.tensor([20.0, -20]).reshape(2, 1, 1).expand(2, 4, 1)
    # Sure and right: free; sure and wrong: 20. The second object of the second image owns no cell, as the first.
    mean = losses(given, *targets)["loss_seg"]
    per_image = losses(given, *targets, masks_per_image=True)["loss_seg"]
    first, second = mean_of_cells(given, targets)
    assert mean == pytest.approx(7.5 * sum((*first, *second)) / 3, rel=1e-5)
    assert per_image == pytest.approx(7.5 * (sum(first) + sum(second) / 2) / 2, rel=1e-5)
    assert mean != pytest.approx(per_image)


def mean_of_cells(given: YoloOutputs, targets: tuple[Target, ...]) -> list[list[float]]:
    """The loss of each object of each image, from the map of instances."""
    found = []
    for i, one in enumerate(targets):
        assert one.masks is not None
        assert given.coefficients is not None
        owner = instance_map(one.masks, (16, 16), (0, 0))
        row = []
        for number, corners in enumerate((one.boxes / 4).int().tolist()):
            x1, y1, x2, y2 = corners
            own = (owner[y1:y2, x1:x2] == number).float()
            logits = torch.full_like(own, float(given.coefficients[i, 0, 0]))
            row.append(float(torch.nn.functional.binary_cross_entropy_with_logits(logits, own)))
        found.append(row)
    return found


def test_losses_are_taken_in_float32_whatever_the_network_ran_in() -> None:
    torch.manual_seed(0)
    specs = [FeatureSpec(16, stride) for stride in (8, 16)]
    head = YoloHead(
        specs, 2, DetectionSelector(0.001, 0.7, 300), mask_branch=functools.partial(PrototypeMasks, count=4)
    )
    features = [torch.randn(1, 16, 64 // spec.stride, 64 // spec.stride) for spec in specs]
    found = head(features)
    given = target([4, 4, 40, 30])
    given.masks = torch.ones(1, 64, 64, dtype=torch.uint8)
    batch = batch_of(geometry((64, 64)), side=64)
    plain = head.losses(found, [given], batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = head.losses(found, [given], batch)
        assert head.decode(head.maps(features)).boxes.dtype == torch.float32
    assert list(mixed) == ["loss_box", "loss_cls", "loss_dfl", "loss_seg"]
    assert all(torch.equal(mixed[name], value) for name, value in plain.items())


def test_scores_begin_low() -> None:
    head = YoloHead([FeatureSpec(16, 8), FeatureSpec(16, 32)], 4, DetectionSelector(0.001, 0.7, 300))
    # 5 objects of 4 classes, spread over 80 x 80 and over 20 x 20 cells.
    for branch, cells in zip(head.class_branches, (6400, 400), strict=True):
        assert branch[-1].bias.exp().tolist() == pytest.approx([5 / 4 / cells] * 4)  # type: ignore[index]
    assert all(branch[-1].bias.tolist() == [1.0] * 64 for branch in head.box_branches)  # type: ignore[index]


def test_outputs_of_an_exported_network_are_not_trained_on() -> None:
    given = outputs()
    given.box_dist = None
    with pytest.raises(ValueError, match="an exported network cannot be trained"):
        losses(given, target([0, 0, 8, 8]))


def test_a_mask_branch_needs_masks() -> None:
    with pytest.raises(ValueError, match="needs the masks of its targets"):
        losses(outputs(prototypes=True), target([0, 0, 8, 8]))
