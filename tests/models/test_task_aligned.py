"""Task-aligned assignment on points and boxes whose overlaps can be read off."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zoo.models.assigners.max_iou import NEGATIVE
from zoo.models.assigners.task_aligned import Assignment, TaskAlignedAssigner

LEFT, RIGHT = [0.0, 0.0, 40.0, 40.0], [60.0, 0.0, 100.0, 40.0]


def assign(
    points: list[list[float]],
    predicted: list[list[float]],
    boxes: list[list[float]],
    *,
    scores: list[list[float]] | None = None,
    labels: list[int] | None = None,
    **options: float | bool | None,
) -> Assignment:
    """One class of score 1/4 where nothing else is said."""
    given = torch.tensor(scores or [[0.25]] * len(points))
    wanted = torch.tensor(labels or [0] * len(boxes), dtype=torch.int64)
    assigner = TaskAlignedAssigner(**options)  # type: ignore[arg-type]
    return assigner(given, torch.tensor(predicted), torch.tensor(points), torch.tensor(boxes).reshape(-1, 4), wanted)


def test_a_point_inside_finds_its_box() -> None:
    matches, scores = assign([[20, 20], [80, 20], [50, 20]], [LEFT, RIGHT, LEFT], [RIGHT, LEFT])
    assert matches.tolist() == [1, 0, NEGATIVE]
    # The best point of a box is to be as sure as it overlaps, here fully, whatever its score is now.
    torch.testing.assert_close(scores, torch.tensor([1.0, 1, 0]))


def test_a_point_on_the_border_is_outside() -> None:
    assert assign([[40, 20], [39.5, 20]], [LEFT, LEFT], [LEFT]).matches.tolist() == [NEGATIVE, 0]


def test_scores_are_in_proportion_to_the_alignment() -> None:
    # Equal boxes: alignment in proportion to the square root of the score of the box's own class.
    matches, scores = assign(
        [[10, 10], [20, 20]], [LEFT, LEFT], [LEFT], scores=[[0.9, 0.64], [0.1, 0.16]], labels=[1]
    )  # fmt: skip
    assert matches.tolist() == [0, 0]
    torch.testing.assert_close(scores, torch.tensor([1.0, 0.5]))


def test_the_power_of_the_overlap() -> None:
    # Concentric squares of sides 40 and 20: IoU 1/4, and nothing else in the CIoU.
    matches, scores = assign([[20, 20], [20, 20]], [LEFT, [10, 10, 30, 30]], [LEFT])
    assert matches.tolist() == [0, 0]
    assert scores[0].item() == pytest.approx(1.0, rel=1e-4)
    assert scores[1].item() == pytest.approx(0.25**6, rel=1e-3)


def test_only_the_best_are_taken() -> None:
    sides = torch.linspace(40, 20, 12)
    predicted = [[20 - s / 2, 20 - s / 2, 20 + s / 2, 20 + s / 2] for s in sides.tolist()]
    assert assign([[20.0, 20]] * 12, predicted, [LEFT]).matches.tolist() == [0] * 10 + [NEGATIVE] * 2
    assert assign([[20.0, 20]] * 12, predicted, [LEFT], topk=3).matches.tolist() == [0] * 3 + [NEGATIVE] * 9


def test_a_point_that_two_boxes_want_goes_to_the_better_overlap() -> None:
    wide, high = [0.0, 0, 40, 20], [0.0, 0, 20, 40]
    assert assign([[10, 10]], [[0, 0, 18, 40]], [wide, high]).matches.tolist() == [1]
    assert assign([[10, 10]], [wide], [high, wide]).matches.tolist() == [1]


def test_of_equal_boxes_the_first_takes_the_point() -> None:
    assert assign([[10, 10]], [LEFT], [LEFT, LEFT]).matches.tolist() == [0]


def test_small_boxes_are_widened_to_hold_a_point() -> None:
    small = [18.0, 2, 22, 38]  # 4 wide, 36 high: widened to 16, from 12 to 28
    for x, inside in ((27.5, 0), (28.5, NEGATIVE)):
        assert assign([[x, 20]], [small], [small]).matches.tolist() == [inside]
        assert assign([[x, 20]], [small], [small], smallest_side=None).matches.tolist() == [NEGATIVE]


def contest(contest_outside: bool) -> Tensor:
    # The point is inside of both halves, but its box is that of the third, which it is outside of.
    boxes = [[0.0, 0, 40, 20], [0.0, 0, 20, 40], [30.0, 30, 60, 60]]
    return assign([[10, 10]], [[29, 29, 60, 60]], boxes, contest_outside=contest_outside).matches


def test_the_first_release_asked_all_boxes_of_the_image() -> None:
    assert contest(contest_outside=True).tolist() == [2]
    assert contest(contest_outside=False).tolist() == [0]


def test_without_boxes_all_is_negative() -> None:
    matches, scores = assign([[10, 10], [20, 20]], [LEFT, LEFT], [])
    assert matches.tolist() == [NEGATIVE, NEGATIVE]
    assert scores.tolist() == [0, 0]
