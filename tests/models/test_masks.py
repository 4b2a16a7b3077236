"""Masks: pasting against its plain definition, and the targets of a mask head."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from device_work import counted
from pycocotools import mask as coco_mask
from torch import Tensor

from zoo.models.masks import _paste_on_device, crop, paste, rasterize
from zoo.types import Rle, Size

SIZE = (60, 80)


def encode_image(image: npt.NDArray[np.bool_]) -> Rle:
    encoded = coco_mask.encode(np.asfortranarray(image, dtype=np.uint8))
    return Rle(size=[int(side) for side in encoded["size"]], counts=encoded["counts"].decode("ascii"))  # type: ignore[union-attr] # bytes


def paste_whole(grid: Tensor, box: Tensor, size: Size) -> npt.NDArray[np.bool_]:
    """The definition: every pixel of the image is sampled."""
    x = (torch.arange(size[1]) + 0.5 - box[0]) / (box[2] - box[0]) * 2 - 1
    y = (torch.arange(size[0]) + 0.5 - box[1]) / (box[3] - box[1]) * 2 - 1
    places = torch.stack((x.expand(*size), y[:, None].expand(*size)), dim=-1)
    values = F.grid_sample(grid[None, None], places[None], align_corners=False)[0, 0]
    return np.asarray((values >= 0.5).numpy())


def random_boxes(count: int, generator: torch.Generator) -> Tensor:
    """Boxes up to 1.5 times as large as the image, partly and wholly outside of it."""
    height, width = SIZE
    centres = torch.rand(count, 2, generator=generator) * torch.tensor([width, height]) * 1.4 - 12
    sides = torch.rand(count, 2, generator=generator) ** 3 * torch.tensor([width, height]) * 1.5 + 1e-3
    return torch.cat((centres - sides / 2, centres + sides / 2), dim=1)


Paste = Callable[[Tensor, Tensor, Size], list[Rle]]
both_ways = pytest.mark.parametrize("paste", [paste, _paste_on_device], ids=["on the host", "as on a device"])


@both_ways
@pytest.mark.parametrize("seed", range(4))
def test_a_window_gives_what_the_whole_image_gives(paste: Paste, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    boxes = random_boxes(60, generator)
    boxes[:20] = boxes[:20].round()  # as targets and clipped boxes are
    boxes[20:30] = boxes[20:30].clamp(min=0, max=SIZE[0])
    boxes[:, 2:] = torch.maximum(boxes[:, 2:], boxes[:, :2] + 1e-3)
    coarse = torch.randn(60, 1, 5, 5, generator=generator) * 3
    grids = F.interpolate(coarse, (28, 28), mode="bilinear")[:, 0].sigmoid()
    for found, grid, box in zip(paste(grids, boxes, SIZE), grids, boxes, strict=True):
        assert found == encode_image(paste_whole(grid, box, SIZE))


@both_ways
def test_a_mask_that_is_on_everywhere_fills_its_box(paste: Paste) -> None:
    (found,) = paste(torch.ones(1, 28, 28), torch.tensor([[10.0, 20, 30, 50]]), SIZE)
    expected = np.zeros(SIZE, dtype=np.bool_)
    expected[20:50, 10:30] = True
    assert found == encode_image(expected)


@both_ways
def test_a_tiny_box_may_miss_every_pixel_centre(paste: Paste) -> None:
    boxes = torch.tensor([[10.1, 10.1, 10.3, 10.3], [10.4, 10.4, 10.6, 10.6]])
    masks = paste(torch.ones(2, 28, 28), boxes, SIZE)
    assert [int(coco_mask.area(mask)) for mask in masks] == [0, 1]  # type: ignore[arg-type] # str is taken too


@both_ways
@pytest.mark.parametrize(
    "box",
    [[5.0, 5, 5, 20], [5, 5, 20, 5], [7, 7, 7, 7], [200, 5, 220, 20], [-40, 5, -20, 20]],
    ids=["no width", "no height", "a point", "right of the image", "left of it"],
)
def test_a_box_without_pixels_has_an_empty_mask(paste: Paste, box: list[float]) -> None:
    assert paste(torch.ones(1, 28, 28), torch.tensor([box]), SIZE) == [encode_image(np.zeros(SIZE, dtype=np.bool_))]


@both_ways
def test_no_detections_no_masks(paste: Paste) -> None:
    assert paste(torch.zeros(0, 28, 28), torch.zeros(0, 4), SIZE) == []


@both_ways
@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1)])
def test_images_of_a_pixel_across_and_many_masks(paste: Paste, size: Size) -> None:
    generator = torch.Generator().manual_seed(0)
    boxes, grids = random_boxes(300, generator) / 8, torch.rand(300, 28, 28, generator=generator)
    expected = [encode_image(paste_whole(grid, box, size)) for grid, box in zip(grids, boxes, strict=True)]
    assert paste(grids, boxes, size) == expected
    assert len({mask["counts"] for mask in expected}) > 1


def test_a_device_is_waited_for_twice() -> None:
    boxes = random_boxes(60, torch.Generator().manual_seed(0))
    with counted() as work:
        _paste_on_device(torch.ones(60, 28, 28), boxes, SIZE)
    assert work.waits == 2  # for the number of runs, and for the text
    assert work.copies == 0
    assert work.ops <= 105


def test_targets_are_cut_from_the_own_mask_and_thresholded() -> None:
    masks = torch.zeros(2, 8, 8, dtype=torch.uint8)
    masks[0, :, :4] = 1  # the left half
    masks[1, 2:4] = 1  # two rows
    regions = torch.tensor([[0.0, 0, 8, 8], [0, 0, 8, 8], [2, 0, 6, 8]])
    targets = crop(masks, regions, torch.tensor([0, 1, 0]), side=4)
    assert targets[0].tolist() == [[1, 1, 0, 0]] * 4
    assert targets[1].tolist() == [[0] * 4, [1] * 4, [0] * 4, [0] * 4]
    assert targets[2].tolist() == [[1, 1, 0, 0]] * 4


def test_half_covered_cells_count() -> None:
    masks = torch.zeros(1, 4, 4, dtype=torch.uint8)
    masks[0, :, 0] = 1
    assert crop(masks, torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([0]), side=2)[0].tolist() == [[1, 0], [1, 0]]


def test_regions_are_cut_to_the_masks() -> None:
    masks = torch.ones(1, 8, 8, dtype=torch.uint8)
    regions = torch.tensor([[-8.0, -8, 16, 16], [0, 0, 8, 8]])
    outside, inside = crop(masks, regions, torch.tensor([0, 0]), side=4)
    assert torch.equal(outside, inside)


def test_no_regions_no_targets() -> None:
    targets = crop(torch.zeros(0, 8, 8, dtype=torch.uint8), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 28)
    assert targets.shape == (0, 28, 28)


def test_polygons_are_cut_and_stretched_before_they_are_rasterised() -> None:
    left, right = ([[0.0, 0], [4, 0], [4, 8], [0, 8]], [[4.0, 0], [8, 0], [8, 8], [4, 8]])
    polygons = [[torch.tensor(left)], [torch.tensor(left), torch.tensor(right)]]
    regions = torch.tensor([[0.0, 0, 8, 8], [0, 0, 8, 8], [2, -4, 6, 4]])
    targets = rasterize(polygons, regions, torch.tensor([0, 1, 0]), side=4)
    assert targets.dtype == regions.dtype
    assert targets[0].tolist() == [[1, 1, 0, 0]] * 4
    assert targets[1].tolist() == [[1] * 4] * 4  # of both its polygons
    assert targets[2].tolist() == [[0] * 4, [0] * 4, [1, 1, 0, 0], [1, 1, 0, 0]]


def test_a_thin_region_stretches_polygons_by_its_least_side() -> None:
    square = torch.tensor([[0.0, 0], [0.05, 0], [0.05, 8], [0, 8]])
    (found,) = rasterize([[square]], torch.tensor([[0.0, 0, 0, 8]]), torch.tensor([0]), side=4)
    assert found.tolist() == [[1, 1, 0, 0]] * 4


def test_no_regions_no_rasters() -> None:
    assert rasterize([], torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 28).shape == (0, 28, 28)
