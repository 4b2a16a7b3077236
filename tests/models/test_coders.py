"""Deltas: worked numbers, round trip, limits."""

from __future__ import annotations

import math

import torch

from zoo.models.coders import LOG_SIZE_LIMIT, DeltaCoder

REFERENCE = torch.tensor([[0.0, 0, 10, 20]])


def test_encode_worked() -> None:
    box = torch.tensor([[5.0, 0, 25, 20]])  # centre (15, 10), 20 x 20
    expected = torch.tensor([[1.0, 0, math.log(2), 0]]) / torch.tensor([0.1, 0.1, 0.2, 0.2])
    assert torch.allclose(DeltaCoder((0.1, 0.1, 0.2, 0.2)).encode(REFERENCE, box), expected)


def test_decode_inverts_encode() -> None:
    coder = DeltaCoder((0.1, 0.1, 0.2, 0.2))
    box = torch.tensor([[3.0, 4, 17, 9]])
    assert torch.allclose(coder.decode(REFERENCE, coder.encode(REFERENCE, box)), box, atol=1e-5)


def test_the_limit_is_a_factor_of_62_and_a_half() -> None:
    box = DeltaCoder().decode(REFERENCE, torch.tensor([[0.0, 0, 99, -99]]))
    width, height = (box[0, 2:] - box[0, :2]).tolist()
    assert math.isclose(width, 625, rel_tol=1e-5)  # 10 * 1000 / 16
    assert math.isclose(height, 0.32, rel_tol=1e-5)  # 20 * 16 / 1000


def test_sizes_are_limited_on_both_sides_and_shifts_are_not() -> None:
    grown = DeltaCoder().decode(REFERENCE, torch.tensor([[100.0, 0, 99, -99]]))
    width, height = (grown[0, 2:] - grown[0, :2]).tolist()
    assert math.isclose(width, 10 * math.exp(LOG_SIZE_LIMIT), rel_tol=1e-4)
    assert math.isclose(height, 20 * math.exp(-LOG_SIZE_LIMIT), rel_tol=1e-4)
    assert math.isclose(float(grown[0, 0] + grown[0, 2]) / 2, 5 + 1000, rel_tol=1e-5)
