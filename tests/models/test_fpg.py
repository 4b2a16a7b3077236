"""Feature Pyramid Grids: which positions exist, what adds up, and what is passed through."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo.models.necks.fpg import FPG, GridCell
from zoo.types import FeatureSpec

SPECS = [FeatureSpec(3, 4), FeatureSpec(5, 8), FeatureSpec(6, 16)]


def test_levels_from_strides() -> None:
    neck = FPG(SPECS, channels=4, pathways=2, levels=4).eval()
    maps = [torch.rand(1, spec.channels, 64 // spec.stride, 96 // spec.stride) for spec in SPECS]
    with torch.inference_mode():
        outputs = neck(maps)
    for out, spec in zip(outputs, neck.out_specs, strict=True):
        assert tuple(out.shape) == (1, 4, 64 // spec.stride, 96 // spec.stride)
    assert [spec.stride for spec in neck.out_specs] == [4, 8, 16, 32]


def test_the_triangle_is_left_out() -> None:
    neck = FPG(SPECS, channels=1, pathways=4, levels=4)
    present = [[isinstance(cell, GridCell) for cell in pathway.children()] for pathway in neck.grid]
    assert present == [
        [False, False, False, True],
        [False, False, True, True],
        [False, True, True, True],
        [True, True, True, True],
    ]


def test_edges_of_the_grid_have_fewer_inputs() -> None:
    neck = FPG(SPECS, channels=1, pathways=4, levels=4)
    last = list(neck.grid[3].children())
    kinds = [{name for name, child in cell.named_children()} for cell in last]
    assert kinds[0] == {"across_lateral", "across_down", "across_skip"}
    assert kinds[1] == kinds[2] == {"same_up", "across_lateral", "across_down", "across_skip"}
    assert kinds[3] == {"same_up", "across_lateral", "across_skip"}


def test_extra_levels_from_the_coarsest() -> None:
    pooled = FPG(SPECS, channels=4, pathways=1, levels=5)
    assert not list(pooled.extras.parameters())
    convolved = FPG(SPECS, channels=4, pathways=1, levels=4, start=1, extra="conv")
    assert {name: tuple(p.shape) for name, p in convolved.extras.named_parameters()} == {
        f"{i}.{value}": shape for i in range(2) for value, shape in (("weight", (4, 4, 3, 3)), ("bias", (4,)))
    }
    assert [spec.stride for spec in convolved.out_specs] == [8, 16, 32, 64]


def test_a_cell_adds_what_passes_relu() -> None:
    cell = GridCell(channels=1, finest=False, coarsest=False).eval()
    for module in cell.modules():
        if isinstance(module, nn.Conv2d):  # every convolution passes the middle of its window through
            nn.init.dirac_(module.weight)
    fine = torch.arange(16.0).view(1, 1, 4, 4)
    before, initial = torch.tensor([[[[100.0, -7], [0, 0]]]]), torch.tensor([[[[1000.0, 0], [0, -7]]]])
    coarse = torch.tensor([[[[10000.0]]]])
    with torch.inference_mode():
        out = cell(fine, before, coarse, initial)
    assert torch.allclose(out, torch.tensor([[[[11100.0, 10002], [10008, 10010]]]]), rtol=1e-4)


def test_extra_levels_are_made_in_two_ways() -> None:
    with pytest.raises(ValueError, match="'nearest'"):
        FPG(SPECS, extra="nearest")
