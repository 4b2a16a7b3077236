"""Sizes, overlap and clipping on boxes small enough to check by hand, under both conventions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zoo.models.boxes import EXCLUSIVE, BoxConvention

INCLUSIVE = BoxConvention(inclusive=True)
BOTH = pytest.mark.parametrize("convention", [EXCLUSIVE, INCLUSIVE])


def test_iou_of_points() -> None:
    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 0, 0]])
    others = torch.tensor([[1.0, 1, 3, 3], [0, 0, 2, 2], [5, 5, 6, 6]])
    expected = torch.tensor([[1 / 7, 1.0, 0.0], [0, 0, 0]])
    assert torch.allclose(EXCLUSIVE.iou(boxes, others), expected)


def test_iou_of_pixels() -> None:
    # 3 x 3 pixels and 3 x 3 share 2 x 2; a single pixel is one of nine; neighbours share none.
    boxes = torch.tensor([[0.0, 0, 2, 2], [1, 1, 1, 1]])
    others = torch.tensor([[1.0, 1, 3, 3], [0, 0, 2, 2], [3, 0, 5, 2]])
    expected = torch.tensor([[4 / 14, 1.0, 0.0], [1 / 9, 1 / 9, 0]])
    assert torch.allclose(INCLUSIVE.iou(boxes, others), expected)


@BOTH
def test_iou_agrees_with_counted_pixels(convention: BoxConvention) -> None:
    generator = torch.Generator().manual_seed(0)
    near = torch.randint(0, 8, (12, 2), generator=generator)
    boxes = torch.cat((near, near + torch.randint(1, 6, (12, 2), generator=generator)), dim=1)
    masks = torch.zeros(12, 20, 20, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, (boxes + torch.tensor([0, 0, 1, 1]) * convention.inclusive), strict=True):
        mask[y1:y2, x1:x2] = True
    shared = (masks[:, None] & masks[None]).sum(dim=(2, 3))
    joint = (masks[:, None] | masks[None]).sum(dim=(2, 3))
    assert torch.allclose(convention.iou(boxes.float(), boxes.float()), shared / joint)
    assert torch.equal(convention.area(boxes.float()), masks.sum(dim=(1, 2)).float())


def test_unions_are_taken_for_at_least_a_millionth() -> None:
    """Small boxes have their true overlap; only below a thousandth of a pixel a side does it fall towards 0."""
    sides = torch.tensor([0.05, 1e-3, 1e-4])
    boxes = torch.stack((torch.zeros(3), torch.zeros(3), sides, sides), dim=1)
    assert torch.allclose(EXCLUSIVE.iou(boxes, boxes).diagonal(), torch.tensor([1.0, 1.0, 0.01]))


def test_clip_includes_the_far_edge() -> None:
    boxes = torch.tensor([[-5.0, -5, 50, 50]])
    assert EXCLUSIVE.clip(boxes, (20, 30)).tolist() == [[0, 0, 30, 20]]


def test_clip_of_pixels_ends_with_the_last_one() -> None:
    # An image of 800 x 1066.6667, not rounded: PaddleDetection clips to 1065.6667.
    boxes = torch.tensor([[-5.0, -5, 5000, 5000]])
    assert INCLUSIVE.clip(boxes, (800.0, 1066.6667))[0].tolist() == pytest.approx([0, 0, 1065.6667, 799])


@pytest.mark.parametrize(
    ("convention", "centre", "size"), [(EXCLUSIVE, [6.0, 12], [8.0, 16]), (INCLUSIVE, [6.5, 12.5], [9.0, 17])]
)
def test_centres_and_sizes(convention: BoxConvention, centre: list[float], size: list[float]) -> None:
    box = torch.tensor([2.0, 4, 10, 20])
    found: tuple[Tensor, Tensor] = convention.centre_size(box)
    assert [values.tolist() for values in found] == [centre, size]
    assert torch.equal(convention.corners(*found), box)


def test_what_coco_writes() -> None:
    box = torch.tensor([[2.0, 4, 10, 20]])
    assert EXCLUSIVE.to_xywh(box).tolist() == [[2, 4, 8, 16]]
    assert INCLUSIVE.to_xywh(box).tolist() == [[2, 4, 9, 17]]
