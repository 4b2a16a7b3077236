"""Assignment by overlap on boxes whose overlaps can be read off: strips 10 wide and 1 to 10 high."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zoo.models.assigners.max_iou import IGNORED, NEGATIVE, MaxIoUAssigner
from zoo.models.boxes import BoxConvention


def strips(*heights: float) -> Tensor:
    """Boxes at the origin: two of heights a < b overlap by a / b."""
    return torch.tensor([[0.0, 0, 10, height] for height in heights])


NOTHING = torch.zeros(0, 4)
FAR = torch.tensor([[100.0, 100, 110, 110]])


def test_thresholds() -> None:
    # Overlaps with the box of height 8: 1, 3/4, 1/2, 3/8 and 1/4. The first threshold includes, the second excludes.
    matches = MaxIoUAssigner(0.75, 0.375)(strips(8, 6, 4, 3, 2), strips(8))
    assert matches.gt_inds.tolist() == [0, 0, IGNORED, IGNORED, NEGATIVE]


def test_nothing_is_ignored_between_equal_thresholds() -> None:
    assert MaxIoUAssigner(0.5, 0.5)(strips(8, 4, 3.9), strips(8)).gt_inds.tolist() == [0, 0, NEGATIVE]


def test_among_equals_the_first_box_wins() -> None:
    assert MaxIoUAssigner(0.5, 0.5)(strips(8), strips(4, 8, 8)).gt_inds.tolist() == [1]


def test_a_box_takes_all_that_reach_its_best_overlap() -> None:
    # The box of height 8 is reached best, by 1/2, by two candidates; the third reaches only 1/4.
    candidates = strips(4, 4, 2)
    assert MaxIoUAssigner(0.7, 0.3)(candidates, strips(8)).gt_inds.tolist() == [IGNORED, IGNORED, NEGATIVE]
    assert MaxIoUAssigner(0.7, 0.3, min_pos_iou=0.3)(candidates, strips(8)).gt_inds.tolist() == [0, 0, NEGATIVE]


def test_a_low_quality_match_needs_its_minimum() -> None:
    assert MaxIoUAssigner(0.7, 0.3, min_pos_iou=0.25)(strips(2), strips(8)).gt_inds.tolist() == [0]
    assert MaxIoUAssigner(0.7, 0.3, min_pos_iou=0.26)(strips(2), strips(8)).gt_inds.tolist() == [NEGATIVE]


def test_a_low_quality_match_beats_a_better_overlap_and_a_later_one_an_earlier() -> None:
    # One candidate, best for every box: the last takes it, though the first fits it perfectly.
    assert MaxIoUAssigner(0.7, 0.3, min_pos_iou=0.3)(strips(8), strips(8, 4, 6)).gt_inds.tolist() == [2]
    assert MaxIoUAssigner(0.7, 0.3)(strips(8), strips(8, 4, 6)).gt_inds.tolist() == [0]


def test_a_low_quality_match_may_stay_with_the_box_it_overlaps_most() -> None:
    assigner = MaxIoUAssigner(0.7, 0.3, min_pos_iou=0.0, reassign=False)
    assert assigner(strips(8), strips(8, 4, 6)).gt_inds.tolist() == [0]
    assert assigner(strips(1, 4), strips(8)).gt_inds.tolist() == [NEGATIVE, 0]


def test_overlaps_and_background_do_not_look_at_low_quality_matches() -> None:
    matches = MaxIoUAssigner(0.7, 0.3, min_pos_iou=0.0)(strips(2, 1, 0), strips(8))
    assert matches.gt_inds.tolist() == [0, NEGATIVE, NEGATIVE]
    assert matches.overlaps.tolist() == [0.25, 0.125, 0]
    assert matches.background.tolist() == [True] * 3
    assert MaxIoUAssigner(0.7, 0.3)(strips(8, 4, 2), strips(8)).background.tolist() == [False, False, True]


def test_a_box_that_nothing_overlaps_takes_nothing() -> None:
    matches = MaxIoUAssigner(0.7, 0.3, min_pos_iou=0.3)(strips(8, 1), torch.cat((strips(8), FAR)))
    assert matches.gt_inds.tolist() == [0, NEGATIVE]


def test_without_ground_truth_all_is_negative() -> None:
    matches = MaxIoUAssigner(0.7, 0.3, min_pos_iou=0.3)(strips(1, 2), NOTHING)
    assert matches.gt_inds.tolist() == [NEGATIVE, NEGATIVE]
    assert matches.gt_inds.dtype == torch.int64
    assert matches.overlaps.tolist() == [0, 0]
    assert matches.background.tolist() == [True, True]


def test_without_candidates_there_is_nothing_to_match() -> None:
    assert MaxIoUAssigner(0.7, 0.3, min_pos_iou=0.3)(NOTHING, strips(8)).gt_inds.shape == (0,)


def test_overlaps_are_taken_by_the_convention() -> None:
    # Strips of 4 and 9 units are 5 and 10 pixels high: overlaps 4/9 and 1/2.
    candidates, boxes = strips(4), strips(9)
    assert MaxIoUAssigner(0.5, 0.5)(candidates, boxes).gt_inds.tolist() == [NEGATIVE]
    assert MaxIoUAssigner(0.5, 0.5, convention=BoxConvention(inclusive=True))(candidates, boxes).gt_inds.tolist() == [0]


def test_thresholds_out_of_order() -> None:
    with pytest.raises(ValueError, match="negative_iou"):
        MaxIoUAssigner(positive_iou=0.3, negative_iou=0.7)


def test_single_pixels_match_nothing() -> None:
    pixel, line = [0.0, 0, 0, 0], [0.0, 0, 9, 0]  # inclusive: 1 x 1 and 10 x 1 pixels
    candidates, boxes = torch.tensor([pixel, line, [0.0, 0, 9, 1]]), torch.tensor([pixel, line])
    inclusive = BoxConvention(inclusive=True)
    assert MaxIoUAssigner(0.5, 0.5, convention=inclusive)(candidates, boxes).gt_inds.tolist() == [0, 1, 1]
    assigner = MaxIoUAssigner(0.5, 0.5, min_pos_iou=0.00001, convention=inclusive, skip_pixels=True)
    matches = assigner(candidates, boxes)
    assert matches.gt_inds.tolist() == [IGNORED, 1, 1]
    assert assigner(candidates, boxes[:1]).gt_inds.tolist() == [IGNORED, NEGATIVE, NEGATIVE]
    assert assigner(candidates, boxes[:0]).gt_inds.tolist() == [IGNORED, NEGATIVE, NEGATIVE]
    assert matches.background.tolist() == [False] * 3
    assert assigner.skipped(boxes).tolist() == [True, False]
