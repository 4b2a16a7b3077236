"""Points of regions: every value as the rule has it, worked out one by one, and its gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from zoo.models.layers.point_roi_pooler import PointRoiPooler
from zoo.types import FeatureSpec

STRIDE = 16


def pooler(size: int = 7) -> PointRoiPooler:
    return PointRoiPooler([FeatureSpec(3, STRIDE)], size)


def point(plane: Tensor, y: float, x: float) -> float:
    """A map (H, W) at a point, in cells."""
    height, width = plane.shape
    if not (0 <= y < height and 0 <= x < width):
        return 0.0
    top, left = min(math.floor(y), height - 2), min(math.floor(x), width - 2)
    down, right = y - top, x - left
    upper = float(plane[top, left]) * (1 - right) + float(plane[top, left + 1]) * right
    lower = float(plane[top + 1, left]) * (1 - right) + float(plane[top + 1, left + 1]) * right
    return upper * (1 - down) + lower * down


def one_by_one(feature: Tensor, rois: Tensor, size: int) -> Tensor:
    pooled = torch.zeros(len(rois), feature.shape[1], size, size, dtype=torch.float64)
    for r, (image, *box) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (side / STRIDE for side in box)
        across, down = max(x2 - x1 + 1, 0) / size, max(y2 - y1 + 1, 0) / size
        for c, plane in enumerate(feature[int(image)]):
            grid = [[point(plane, y1 + i * down, x1 + j * across) for j in range(size + 1)] for i in range(size + 1)]
            for i in range(size):
                for j in range(size):
                    pooled[r, c, i, j] = (grid[i][j] + grid[i][j + 1] + grid[i + 1][j] + grid[i + 1][j + 1]) / 4
    return pooled


def regions() -> Tensor:
    """Inside, over each border, of no extent, the zero padding, and one turned round."""
    return torch.tensor(
        [
            [0.0, 20, 30, 90, 70],
            [1, -25, -10, 60, 50],
            [1, 100, 60, 127, 95],
            [0, 0, 0, 127, 95],
            [0, 0, 0, 0, 0],
            [1, 40, 40, 40, 40],
            [0, 90, 50, 20, 10],
        ],
        dtype=torch.float64,
    )


@pytest.mark.parametrize("size", [7, 2])
def test_every_value_is_the_rules(size: int) -> None:
    torch.manual_seed(0)
    feature = torch.randn(2, 3, 6, 8, dtype=torch.float64)
    found = pooler(size)((feature,), regions())
    assert torch.allclose(found, one_by_one(feature, regions(), size), rtol=0, atol=1e-12)


def test_beyond_the_last_cells_the_map_goes_on_and_then_ends() -> None:
    ramp = torch.arange(8.0).expand(1, 3, 6, 8)  # the value of column x is x
    # From column 5.5 to 7.9, in two steps; rows inside.
    row = pooler(2)((ramp,), torch.tensor([[0.0, 88, 16, 110.4, 16]]))[0, 0, 0]
    assert row.tolist() == pytest.approx([(5.5 + 6.7) / 2, (6.7 + 7.9) / 2])
    row = pooler(2)((ramp,), torch.tensor([[0.0, 88, 16, 112, 16]]))[0, 0, 0]  # its last points are at 8
    assert row.tolist() == pytest.approx([(5.5 + 6.75) / 2, 6.75 / 2])


def test_many_regions_are_as_few() -> None:
    torch.manual_seed(0)
    feature, rois = torch.randn(2, 3, 6, 8), regions().float().repeat(30, 1)
    found = pooler()((feature,), rois)
    assert torch.equal(found[-7:], pooler()((feature,), regions().float()))
    assert pooler()((feature,), rois[:0]).shape == (0, 3, 7, 7)


def test_a_region_that_is_no_number_gives_none() -> None:
    torch.manual_seed(0)
    feature, rois = torch.randn(2, 3, 6, 8), regions().float()
    lost = rois.clone()
    lost[0, 1:] = torch.nan
    lost[1, 4] = torch.inf
    found = pooler()((feature,), lost)
    assert not found[:2].isfinite().all(dim=(1, 2, 3)).any()
    assert torch.equal(found[2:], pooler()((feature,), rois)[2:])


def test_gradients() -> None:
    torch.manual_seed(0)
    feature = torch.randn(2, 3, 6, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: pooler(2)((x,), regions()), feature)


def test_one_map() -> None:
    with pytest.raises(ValueError, match="one map, not 2"):
        PointRoiPooler([FeatureSpec(3, 8), FeatureSpec(3, 16)], 7)
