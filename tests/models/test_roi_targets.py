"""What regions are trained to say: the pixels they are matched in, boxes that stand for nothing, the next stage."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from geometries import geometry
from small_heads import make_roi_head
from torch import Tensor

from zoo.models.assigners.max_iou import MaxIoUAssigner
from zoo.models.boxes import BoxConvention
from zoo.models.coders import DeltaCoder
from zoo.models.heads.roi_targets import RoiTargets, pad_targets, roi_targets
from zoo.models.samplers import AllSampler, LibraSampler, Sampler
from zoo.types import Target

INCLUSIVE = BoxConvention(inclusive=True)
TWICE = (2.0, 2.0)


def targets_of(proposals: Tensor, target: Target, sampler: Sampler | None = None, **others: Any) -> RoiTargets:
    """Of one image, whose classes are three."""
    assigner = MaxIoUAssigner(0.5, 0.5, convention=INCLUSIVE)
    (found,) = roi_targets([proposals], [target], assigner, sampler or AllSampler(), num_classes=3, **others)
    return found


def target(*boxes: tuple[float, float, float, float], label: int = 1) -> Target:
    return Target(torch.tensor(boxes), torch.full((len(boxes),), label))


def test_regions_are_matched_and_learned_in_original_pixels() -> None:
    # 4 of 8 pixels of the original are half; 7 of 15 of the input would be less.
    proposals = torch.tensor([[0.0, 0, 6, 14]])
    found = targets_of(proposals, target((0, 0, 14, 14)), scales=[TWICE])
    assert found.regions.tolist() == [[0, 0, 14, 14], [0, 0, 6, 14]]
    assert found.labels.tolist() == [1, 1]
    assert found.overlaps.tolist() == [1, 0.5]
    assert found.references.tolist() == [[0, 0, 7, 7], [0, 0, 3, 7]]
    assert found.boxes.tolist() == [[0, 0, 7, 7]] * 2
    assert targets_of(proposals, target((0, 0, 14, 14))).labels.tolist() == [1, 3]


def test_a_stage_knows_its_pixels() -> None:
    stage = make_roi_head().last_stage
    proposals, resized = torch.tensor([[0.0, 0, 8, 8]]), geometry((32, 32), (2.0, 4.0))
    assert stage.assign([proposals], [target((0, 0, 8, 8))], [resized])[0].boxes.tolist() == [[0, 0, 8, 8]] * 2
    stage.target_frame = "original"
    assert stage.assign([proposals], [target((0, 0, 8, 8))], [resized])[0].boxes.tolist() == [[0, 0, 4, 2]] * 2


def test_images_of_a_batch_get_as_many_boxes() -> None:
    one, two = target((0, 0, 9, 9)), target((0, 0, 9, 9), (5, 5, 9, 9))
    padded, same = pad_targets([one, two], num_classes=3)
    assert padded.boxes.tolist() == [[0, 0, 9, 9], [0, 0, 0, 0]]
    assert padded.labels.tolist() == [1, 3]
    assert torch.equal(same.boxes, two.boxes)
    assert pad_targets([], num_classes=3) == []


def test_a_region_on_a_box_that_stands_for_nothing_is_background_though_drawn_as_an_object() -> None:
    # The second proposal is the first pixel: it takes the place of a negative, since the sampler has it for a positive.
    padded, _ = pad_targets([target((10, 10, 19, 19)), target((0, 0, 9, 9), (5, 5, 9, 9))], num_classes=3)
    proposals = torch.tensor([[10.0, 10, 19, 18], [0, 0, 0, 0], [30, 30, 39, 39]])
    found = targets_of(proposals, padded, stand_ins=True)
    assert found.regions.tolist() == [[10, 10, 19, 19], [10, 10, 19, 18], [0, 0, 0, 0], [30, 30, 39, 39]]
    assert found.labels.tolist() == [1, 1, 3, 3]
    assert len(found.boxes) == len(found.references) == len(found.matched_gt_inds) == 2
    few = targets_of(proposals, padded, LibraSampler(4, 0.5), stand_ins=True)
    assert few.labels.tolist()[-1] == 3
    assert len(few.labels) == 3  # two of the three positives, and the one negative


def test_without_objects_everything_is_background() -> None:
    nothing = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    found = targets_of(torch.tensor([[0.0, 0, 9, 9]]), nothing)
    assert found.labels.tolist() == [3]
    assert found.boxes.shape == found.references.shape == (0, 4)


def sampled(*overlaps: float) -> RoiTargets:
    """So many regions, 10 pixels wide and high, one after another."""
    left = 10.0 * torch.arange(len(overlaps))
    regions = torch.stack((left, torch.zeros_like(left), left + 9, torch.full_like(left, 9)), dim=1)
    nothing = torch.zeros(0, 4)
    return RoiTargets(
        regions,
        torch.full((len(overlaps),), 2),
        torch.tensor(overlaps),
        torch.zeros(0, dtype=torch.int64),
        nothing,
        nothing,
    )


def test_the_next_stage_gets_boxes_with_an_area_of_what_was_no_object_itself() -> None:
    coder = DeltaCoder((1, 1, 1, 1), min_growth=None, convention=INCLUSIVE)
    stage = make_roi_head(coders=[coder], class_agnostic=True).last_stage
    deltas = torch.zeros(4, 4, requires_grad=True)
    with torch.no_grad():
        deltas[1, 0] = 0.5  # half its width to the right
        deltas[3, 2] = -torch.inf  # no width is left
    first, second = stage.refine(deltas, [sampled(1.0, 0.7), sampled(0.3, 0.2)])
    assert first.tolist() == [[15, 0, 24, 9]]
    assert second.tolist() == [[0, 0, 9, 9]]
    assert not first.requires_grad


def test_pixels_of_targets_have_two_names() -> None:
    with pytest.raises(ValueError, match="target_frame: 'image'"):
        make_roi_head(target_frame="image")  # type: ignore[arg-type] # on purpose


def test_ground_truth_may_stand_behind_the_proposals_and_be_matched_as_they_are() -> None:
    proposals, wanted = torch.tensor([[0.0, 0, 9, 9], [40, 40, 49, 49]]), target((0, 0, 9, 9), (0, 0, 9, 9))
    wanted.labels[1] = 2
    found = targets_of(proposals, wanted, ground_truth="last")
    assert found.regions.tolist() == [[0, 0, 9, 9]] * 3 + [[40, 40, 49, 49]]
    assert found.labels.tolist() == [1, 1, 1, 3]  # of two equal boxes the first
    assert targets_of(proposals, wanted).labels.tolist() == [1, 2, 1, 3]
    assert found.positives.tolist() == [[0, 0, 9, 9]] * 3
