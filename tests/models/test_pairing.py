"""The pairing of detections with the original's: what it lets pass and what not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pairing import match_one_to_one, pair_detections

from zoo.data.detections import Detections

Row = tuple[float, float, float, float, float, int]
"""x1, y1, x2, y2, score, label."""

ROWS: list[Row] = [
    (10, 20, 110, 220, 0.9, 3),
    (10.004, 20, 110, 220.004, 0.9002, 3),  # nearly on top of the first
    (10, 20, 110, 220, 0.9, 5),
    (300, 50, 340, 90, 0.5, 3),
]


def answered(rows: Sequence[Row]) -> dict[str, npt.NDArray[Any]]:
    table = np.array(rows, dtype=np.float32).reshape(-1, 6)
    return {"boxes": table[:, :4], "scores": table[:, 4], "labels": table[:, 5].astype(np.int32)}


def detected(rows: Sequence[Row]) -> Detections:
    boxes, scores, labels = (torch.from_numpy(values) for values in answered(rows).values())
    return Detections(boxes, scores, labels)


def pair(answers: Sequence[Row], found: Sequence[Row]) -> dict[int, int]:
    return pair_detections(answered(answers), detected(found), 0.5)


def test_every_detection_is_taken_once() -> None:
    # Either of the first two fits both of the first two, and the nearest of both is the same.
    found: list[Row] = [(10.002, 20, 110, 220.002, 0.9001, 3), (9.99, 20, 110, 220, 0.9001, 3), ROWS[3], ROWS[2]]
    assert pair(ROWS, found) == {0: 1, 1: 0, 2: 3, 3: 2}
    assert pair([], []) == {}


@pytest.mark.parametrize(
    "change",
    [
        {5: 4},  # another class
        {4: ROWS[0][4] - 2e-3},
        {4: ROWS[0][4] + 2e-3},
        {0: 12, 2: 112},  # two per cent of the width
        {3: 224},
        {0: 10.03},
    ],
)
def test_a_changed_detection_has_no_partner(change: dict[int, float]) -> None:
    changed: Any = tuple(change.get(i, value) for i, value in enumerate(ROWS[0]))
    with pytest.raises(AssertionError, match="found"):
        pair(ROWS, [changed, *ROWS[1:]])
    with pytest.raises(AssertionError, match="found"):
        pair([changed, *ROWS[1:]], ROWS)


def test_a_small_box_off_by_little_has_no_partner() -> None:
    with pytest.raises(AssertionError, match=r"found by the original only: \[0\]"):
        pair([(0, 0, 1, 1, 0.5, 0)], [(0, 0, 1, 1.015, 0.5, 0)])  # an overlap of 0.985


@pytest.mark.parametrize("index", range(len(ROWS)))
def test_a_detection_too_few_or_too_many(index: int) -> None:
    rest = [row for i, row in enumerate(ROWS) if i != index]
    with pytest.raises(AssertionError, match=r"found by the original only: \[.*\d\]"):
        pair(ROWS, rest)
    if index < 3:  # below the last answer there may be more: of some cases the answers hold the best only
        with pytest.raises(AssertionError, match=r"found, but not by the original: \[\d\]"):
            pair(rest, ROWS)


TIED: Row = (300, 50, 340, 70.001, 0.45, 3)
"""It overlaps the last row by half."""


def test_rounding_may_decide_on_a_box_at_the_threshold_of_suppression() -> None:
    last: Row = (0, 0, 9, 9, 0.4, 7)
    assert pair([*ROWS, TIED, last], [*ROWS, last]) == {0: 0, 1: 1, 2: 2, 3: 3, 5: 4}
    assert pair([*ROWS, last], [*ROWS, TIED, last]) == {0: 0, 1: 1, 2: 2, 3: 3, 4: 5}
    assert pair([*ROWS, last], [*ROWS, TIED]) == {0: 0, 1: 1, 2: 2, 3: 3}  # for one more, the last fell out


@pytest.mark.parametrize(
    "row",
    [
        (300, 50, 340, 70.02, 0.45, 3),  # by 0.5005
        (300, 50, 340, 70.001, 0.45, 4),  # of another class
        (300, 50, 340, 70.001, 0.55, 3),  # itself the better
    ],
)
def test_what_is_no_tie(row: Row) -> None:
    last: Row = (0, 0, 9, 9, 0.4, 7)
    with pytest.raises(AssertionError, match="found, but not by the original"):
        pair([*ROWS, last], [*ROWS, row, last])
    with pytest.raises(AssertionError, match="found by the original only"):
        pair([*ROWS, row, last], [*ROWS, last])


def test_only_the_last_falls_out_for_one_more() -> None:
    last: Row = (0, 0, 9, 9, 0.4, 7)
    with pytest.raises(AssertionError, match=r"found by the original only: \[2\]"):
        pair([*ROWS, last], [*ROWS[:2], ROWS[3], TIED, last])
    with pytest.raises(AssertionError, match=r"found by the original only: \[4, 5\]"):
        pair([*ROWS, last, last], [*ROWS, TIED])


def test_the_most_pairs_are_made() -> None:
    # Taken greedily, row 1 would leave nothing to row 2.
    assert match_one_to_one([[2, 3], [0, 1], [0], []]) == {0: 2, 1: 1, 2: 0}
    assert match_one_to_one([[0], [0]]) == {0: 0}


def test_a_box_that_is_cut_to_next_to_nothing_is_known_by_its_place() -> None:
    slivers: list[Row] = [(300, 50, 340, 50, 0.9, 3), (10, 20, 110, 20.005, 0.8, 3)]
    assert pair(slivers, [slivers[0], (10, 20, 110, 20.015, 0.8, 3)]) == {0: 0, 1: 1}
    with pytest.raises(AssertionError, match=r"found by the original only: \[1\]"):
        pair(slivers, [slivers[0], (10, 20.03, 110, 20.03, 0.8, 3)])
