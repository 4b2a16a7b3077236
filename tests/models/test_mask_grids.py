"""Masks as torchvision lays them on boxes: pasted and cut out against its own functions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from device_work import counted
from torchvision.models.detection.roi_heads import paste_masks_in_image, project_masks_on_boxes

from zoo.data.rle import decode
from zoo.models import masks
from zoo.models.mask_grids import ResizedMaskGrid, SampledMaskGrid, _grown, _resize_on_device
from zoo.types import Target

SIZE = (60, 80)


def test_a_mask_is_resized_to_the_pixels_of_its_box() -> None:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(40, 2, generator=generator) * torch.tensor([70.0, 50])
    sides = torch.rand(40, 2, generator=generator) ** 3 * torch.tensor([60.0, 40]) + 1e-3  # some reach out of the image
    boxes, grids = torch.cat((corners, corners + sides), dim=1), torch.rand(40, 28, 28, generator=generator)
    expected = paste_masks_in_image(grids[:, None], boxes, SIZE)[:, 0] > 0.5
    pasted = np.stack([decode(mask) for mask in ResizedMaskGrid().paste(grids, boxes, SIZE)])
    assert np.array_equal(pasted, expected.numpy())
    assert 0 < expected.sum() < expected.numel()


@pytest.mark.parametrize("box", [[-40.0, -30, -20, -10], [90.0, 70, 100, 75]])
def test_outside_of_the_image_there_is_no_mask(box: list[float]) -> None:
    (mask,) = ResizedMaskGrid().paste(torch.ones(1, 28, 28), torch.tensor([box]), SIZE)
    assert mask["size"] == list(SIZE)
    assert not decode(mask).any()


def test_nothing_found_nothing_pasted() -> None:
    assert ResizedMaskGrid().paste(torch.zeros(0, 28, 28), torch.zeros(0, 4), SIZE) == []


def test_on_a_device_masks_are_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(300, 2, generator=generator) * torch.tensor([140.0, 100]) - 30  # some outside of the image
    boxes = torch.cat((corners, corners + torch.rand(300, 2, generator=generator) ** 3 * 90), dim=1)
    boxes[0], boxes[1] = torch.tensor([-20.0, -10, 100, 90]), torch.tensor([9.5, 9.5, 9.5, 9.5])
    grids = F.pad(torch.rand(300, 28, 28, generator=generator), (1, 1, 1, 1))
    for size in (SIZE, (1, 1), (1, 30), (30, 1)):
        with counted() as work:
            on_device = _resize_on_device(grids, _grown(boxes, 30 / 28), size)
        assert on_device == ResizedMaskGrid().paste(grids[:, 1:-1, 1:-1], boxes, size)
        assert work.waits == 2  # for the number of runs, and for the text
        assert work.ops <= 130
        assert work.copies == 0


def test_targets_are_shares_of_cells() -> None:
    bitmaps = torch.zeros(2, *SIZE, dtype=torch.uint8)
    bitmaps[0, 10:30, 10:27], bitmaps[1, 5:50, 40:70] = 1, 1
    regions = torch.tensor([[8.0, 8, 33, 35], [41.5, 3.25, 78, 47], [0, 0, 79, 59]])
    owners = torch.tensor([0, 1, 1])
    target = Target(torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64), bitmaps)
    found = ResizedMaskGrid().targets(target, regions, owners, 28)
    assert torch.equal(found, project_masks_on_boxes(bitmaps, regions, owners, 28))
    assert ((found > 0) & (found < 1)).any()


def test_the_other_grid_is_sampled_and_cut_at_one_half() -> None:
    bitmaps, regions = torch.ones(1, 8, 8, dtype=torch.uint8), torch.tensor([[0.0, 0, 8, 8]])
    target, owner = Target(regions, torch.zeros(1, dtype=torch.int64), bitmaps), torch.tensor([0])
    assert SampledMaskGrid().targets(target, regions, owner, 4).tolist() == torch.ones(1, 4, 4).tolist()
    polygons = Target(regions, target.labels, polygons=[[torch.tensor([[0.0, 0], [8, 0], [8, 8], [0, 8]])]])
    assert SampledMaskGrid().targets(polygons, regions, owner, 4).tolist() == torch.ones(1, 4, 4).tolist()
    grids = torch.ones(1, 4, 4)
    assert SampledMaskGrid().paste(grids, regions, (8, 8)) == masks.paste(grids, regions, (8, 8))


@pytest.mark.parametrize("grid", [ResizedMaskGrid(), SampledMaskGrid()])
def test_targets_need_masks(grid: ResizedMaskGrid | SampledMaskGrid) -> None:
    boxes_only = Target(torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(ValueError, match="targets with masks"):
        grid.targets(boxes_only, torch.zeros(1, 4), torch.tensor([0]), 28)
