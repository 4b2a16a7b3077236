"""Assignment by overlap on boxes whose overlaps can be read off: strips 10 wide and 1 to 10 high."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zoo.models.assigners.fcos import FcosAssigner
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
    assert assigner.single_pixels(boxes).tolist() == [True, False]


def test_the_first_of_equals_may_be_the_only_low_quality_match() -> None:
    candidates, boxes = strips(2, 2, 3), strips(8, 3)
    assert MaxIoUAssigner(0.7, 0.3, min_pos_iou=0.0)(candidates[:2], boxes[:1]).gt_inds.tolist() == [0, 0]
    first = MaxIoUAssigner(0.7, 0.3, min_pos_iou=0.0, ties="first")
    assert first(candidates[:2], boxes[:1]).gt_inds.tolist() == [0, NEGATIVE]
    assert first(candidates, boxes).gt_inds.tolist() == [IGNORED, IGNORED, 1]  # the last box takes it from the first
    assert first(FAR, boxes).gt_inds.tolist() == [1], "even one that overlaps nothing"
    with pytest.raises(ValueError, match="ties: 'last' is none of all, first"):
        MaxIoUAssigner(0.7, 0.3, ties="last")  # type: ignore[arg-type] # on purpose


def squares(*points: tuple[float, float, float]) -> Tensor:
    """Squares of x, y and side, about their points."""
    x, y, side = torch.tensor(points).unbind(dim=1)
    return torch.stack((x - side / 2, y - side / 2, x + side / 2, y + side / 2), dim=1)


@pytest.mark.parametrize(
    ("point", "half", "matched"),
    [
        ((50, 50, 8), 40, 0),  # the farthest side is 5 squares away
        ((60, 50, 8), 40, 0),
        ((62, 50, 8), 40, NEGATIVE),  # 12 pixels from the centre, a square and a half
        ((50, 62, 8), 40, NEGATIVE),
        ((50, 50, 8), 32, NEGATIVE),  # 4 squares are too near, 8 too far
        ((50, 50, 8), 64, NEGATIVE),
        ((50, 50, 4), 10, 0),  # the finest level is for all that is smaller, too, but not for what is larger
        ((50, 50, 4), 32, NEGATIVE),
        ((50, 50, 256), 3000, 0),  # and the coarsest for all that is larger
        ((50, 50, 256), 1024, NEGATIVE),
    ],
)
def test_points_near_the_centre_on_the_level_of_the_size(
    point: tuple[float, float, float], half: float, matched: int
) -> None:
    others = squares((9000, 9000, 5), (9000, 9000, 256))  # of a finer level and a coarser
    box = torch.tensor([[50 - half, 50 - half, 50 + half, 50 + half]])
    found = FcosAssigner()(torch.cat((squares(point), others)), box)
    assert found.gt_inds.tolist() == [matched, NEGATIVE, NEGATIVE]
    assert found.background.tolist() == [matched == NEGATIVE, True, True]


def test_a_point_goes_to_the_smallest_box_around_it() -> None:
    boxes = torch.tensor([[10.0, 10, 90, 90], [30, 30, 70, 70], [30, 30, 70, 70], [48, 48, 50, 50]])
    candidates = torch.cat((squares((50, 50, 8)), squares((500, 500, 16))))
    assert FcosAssigner()(candidates, boxes).gt_inds.tolist() == [1, NEGATIVE]  # of the last it is on the corner
    assert FcosAssigner()(candidates, boxes[:1]).gt_inds.tolist() == [0, NEGATIVE]
    assert FcosAssigner()(candidates, NOTHING).gt_inds.tolist() == [NEGATIVE, NEGATIVE]
