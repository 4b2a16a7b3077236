"""Deltas: worked numbers, round trip, limits, conventions."""

from __future__ import annotations

import math

import pytest
import torch

from zoo.models.boxes import EXCLUSIVE, BoxConvention
from zoo.models.coders import LARGEST_GROWTH, DeltaCoder, DistanceCoder

INCLUSIVE = BoxConvention(inclusive=True)
REFERENCE = torch.tensor([[0.0, 0, 10, 20]])
HUGE = torch.tensor([[100.0, 0, 99, -99]])


def test_encode_worked() -> None:
    box = torch.tensor([[5.0, 0, 25, 20]])  # centre (15, 10), 20 x 20
    expected = torch.tensor([[1.0, 0, math.log(2), 0]]) / torch.tensor([0.1, 0.1, 0.2, 0.2])
    assert torch.allclose(DeltaCoder((0.1, 0.1, 0.2, 0.2)).encode(REFERENCE, box), expected)


def test_encode_of_pixels_worked() -> None:
    # 10 x 20 pixels about (5, 10), and 20 x 10 about (15, 5): a width to the right, a quarter of a height up.
    reference, box = torch.tensor([[0.0, 0, 9, 19]]), torch.tensor([[5.0, 0, 24, 9]])
    expected = torch.tensor([[1.0, -0.25, math.log(2), -math.log(2)]])
    assert torch.allclose(DeltaCoder(convention=INCLUSIVE).encode(reference, box), expected)


@pytest.mark.parametrize("convention", [EXCLUSIVE, INCLUSIVE])
def test_decode_inverts_encode(convention: BoxConvention) -> None:
    coder = DeltaCoder((0.1, 0.1, 0.2, 0.2), convention=convention)
    box = torch.tensor([[3.0, 4, 17, 9]])
    assert torch.allclose(coder.decode(REFERENCE, coder.encode(REFERENCE, box)), box, atol=1e-5)


def test_the_limit_is_a_factor_of_62_and_a_half() -> None:
    box = DeltaCoder().decode(REFERENCE, torch.tensor([[0.0, 0, 99, -99]]))
    width, height = (box[0, 2:] - box[0, :2]).tolist()
    assert math.isclose(width, 625, rel_tol=1e-5)  # 10 * 1000 / 16
    assert math.isclose(height, 0.32, rel_tol=1e-5)  # 20 * 16 / 1000


def test_sizes_are_limited_on_both_sides_and_shifts_are_not() -> None:
    grown = DeltaCoder().decode(REFERENCE, HUGE)
    width, height = (grown[0, 2:] - grown[0, :2]).tolist()
    assert width == pytest.approx(10 * 1000 / 16, rel=1e-4)
    assert height == pytest.approx(20 * 16 / 1000, rel=1e-4)
    assert float(grown[0, 0] + grown[0, 2]) / 2 == pytest.approx(5 + 1000, rel=1e-5)


def test_sizes_may_be_limited_above_alone() -> None:
    grown = DeltaCoder(min_growth=None).decode(REFERENCE, torch.tensor([[0.0, 0, 99, -9]]))
    width, height = (grown[0, 2:] - grown[0, :2]).tolist()
    assert width == pytest.approx(10 * math.exp(LARGEST_GROWTH), rel=1e-4)
    assert height == pytest.approx(20 * math.exp(-9), rel=1e-2)


def test_without_limits_a_size_may_overflow() -> None:
    grown = DeltaCoder(min_growth=None, max_growth=None).decode(REFERENCE, HUGE)
    assert grown[0, 2].isinf()
    assert INCLUSIVE.clip(grown, (20, 30))[0, 2] == 29  # which clipping brings back


def test_a_box_may_be_put_around_its_centre_by_another_convention() -> None:
    # faster-rcnn.pytorch: sizes and centres with +1, corners centre -+ half the size, so that boxes grow by a pixel.
    coder = DeltaCoder(convention=INCLUSIVE, decoded=EXCLUSIVE)
    assert coder.decode(torch.tensor([[0.0, 0, 9, 19]]), torch.zeros(1, 4)).tolist() == [[0, 0, 10, 20]]
    assert DeltaCoder(convention=INCLUSIVE).decode(torch.tensor([[0.0, 0, 9, 19]]), torch.zeros(1, 4)).tolist() == [
        [0, 0, 9, 19]
    ]


def test_distances_are_from_the_middle_of_the_reference_in_its_sides() -> None:
    references, boxes = torch.tensor([[8.0, 16, 16, 24]]), torch.tensor([[4.0, 18, 44, 60]])
    distances = DistanceCoder().encode(references, boxes)
    assert distances.tolist() == [[1, 0.25, 4, 5]]  # (12, 20) lies 8, 2, 32 and 40 pixels from the sides
    assert torch.equal(DistanceCoder().decode(references, distances), boxes)
