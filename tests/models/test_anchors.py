"""Anchors: worked numbers, order, no rounding."""

from __future__ import annotations

import torch

from zoo.models.anchors import AnchorGenerator


def test_base_anchors_are_not_rounded() -> None:
    base = AnchorGenerator([4], ratios=[0.5, 1.0, 2.0], scales=[8]).base(4)
    side = 32 / 2**0.5
    expected = [
        [-32 / 2**0.5, -side / 2, 32 / 2**0.5, side / 2],
        [-16, -16, 16, 16],
        [-side / 2, -side, side / 2, side],
    ]
    assert torch.allclose(base, torch.tensor(expected))


def test_ratios_outside_scales_inside() -> None:
    base = AnchorGenerator([16], ratios=[0.5, 1.0], scales=[1, 2]).base(16)
    widths = base[:, 2] - base[:, 0]
    assert torch.allclose(widths, torch.tensor([16 * 2**0.5, 32 * 2**0.5, 16, 32]))


def test_grid_walks_along_rows_first() -> None:
    (grid,) = AnchorGenerator([4], ratios=[1.0], scales=[1]).grid([(2, 3)], torch.device("cpu"))
    centres = (grid[:, :2] + grid[:, 2:]) / 2
    assert centres.tolist() == [[0, 0], [4, 0], [8, 0], [0, 4], [4, 4], [8, 4]]


def test_grid_exists_when_built_on_the_meta_device() -> None:
    with torch.device("meta"):
        generator = AnchorGenerator([4], ratios=[1.0], scales=[8])
        (grid,) = generator.grid([(1, 1)], torch.device("cpu"))
    assert grid.tolist() == [[-16, -16, 16, 16]]
