"""Suppression by the rules of each framework, on boxes small enough to check by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zoo.models.boxes import BoxConvention
from zoo.models.nms import SPLIT_FROM, BatchedNms, ExactNms, GroupedNms, OffsetNms

KINDS = pytest.mark.parametrize("nms", [OffsetNms(), BatchedNms(), ExactNms(), ExactNms(BoxConvention(inclusive=True))])


def suppress(
    boxes: Tensor, scores: list[float], groups: list[int], threshold: float, nms: GroupedNms | None = None
) -> list[int]:
    return (nms or OffsetNms())(boxes, torch.tensor(scores), torch.tensor(groups), threshold).tolist()


@KINDS
def test_groups_are_kept_apart(nms: GroupedNms) -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 8]])
    assert suppress(boxes, [0.5, 0.9, 0.8], [0, 0, 1], 0.5, nms) == [1, 2]
    assert suppress(boxes, [0.5, 0.9, 0.8], [0, 0, 0], 0.5, nms) == [1]


@KINDS
def test_of_nothing(nms: GroupedNms) -> None:
    assert suppress(torch.zeros(0, 4), [], [], 0.5, nms) == []


def test_offsets_keep_groups_a_pixel_apart() -> None:
    # The second begins a pixel outside of the image: shifted by the largest coordinate and 1 it just touches the first.
    boxes = torch.tensor([[0.0, 0, 2, 2], [-1, -1, 1, 1]])
    assert suppress(boxes, [0.9, 0.8], [0, 1], 0.1) == [0, 1]
    assert suppress(boxes, [0.9, 0.8], [0, 0], 0.1) == [0]


def test_threshold_is_strict_and_a_float32() -> None:
    # IoU of these two is 7/10, whose nearest float32 is below the double 0.7: only a float32 threshold keeps both.
    boxes = torch.tensor([[0.0, 0, 10, 1], [0, 0, 7, 1]])
    assert suppress(boxes, [0.9, 0.8], [0, 0], 0.7) == [0, 1]
    assert suppress(boxes, [0.9, 0.8], [0, 0], 0.69) == [0]


def test_offsets_shift_groups_in_float32() -> None:
    # Group 79 lies 79 * 2001 pixels away, where float32 resolves 1/64: an overlap just above one half is rounded to it.
    boxes = torch.tensor([[0.0, 0, 2000, 2000], [100, 100, 102, 101], [100, 100, 101.002, 101]])
    assert suppress(boxes[1:], [0.9, 0.8], [0, 0], 0.5) == [0]
    assert suppress(boxes, [1.0, 0.9, 0.8], [0, 79, 79], 0.5) == [0, 1, 2]
    assert suppress(boxes, [1.0, 0.9, 0.8], [0, 79, 79], 0.5, ExactNms()) == [0, 1]


def test_inclusive_boxes_are_a_pixel_larger() -> None:
    # 4 x 1 and 2 x 1 pixels: IoU 2/4. By their corners, 3 and 1 wide and of no height, they overlap nothing.
    boxes = torch.tensor([[0.0, 0, 3, 0], [0, 0, 1, 0]])
    nms = ExactNms(BoxConvention(inclusive=True))
    assert suppress(boxes, [0.9, 0.8], [0, 0], 0.5, nms) == [0, 1]  # not above it
    assert suppress(boxes, [0.9, 0.8], [0, 0], 0.49, nms) == [0]
    assert suppress(boxes, [0.9, 0.8], [0, 0], 0.49, ExactNms()) == [0, 1]


def test_inclusive_suppression_agrees_with_its_own_overlaps() -> None:
    convention = BoxConvention(inclusive=True)
    generator = torch.Generator().manual_seed(0)
    near = torch.rand(200, 2, generator=generator) * 60
    boxes = torch.cat((near, near + torch.rand(200, 2, generator=generator) * 30), dim=1)
    scores = torch.randperm(200, generator=generator).float()
    order, kept = scores.argsort(descending=True).tolist(), list[int]()
    for i in order:
        if not kept or float(convention.iou(boxes[[i]], boxes[kept]).max()) <= 0.3:
            kept.append(i)
    found = ExactNms(convention)(boxes, scores, torch.zeros(200, dtype=torch.int64), 0.3)
    assert found.tolist() == kept


def test_many_boxes_agree_with_few() -> None:
    generator = torch.Generator().manual_seed(0)
    corner = torch.randint(0, 200, (SPLIT_FROM, 2), generator=generator).float()
    size = torch.randint(8, 64, (SPLIT_FROM, 2), generator=generator).float()
    boxes = torch.cat((corner, corner + size), dim=1)
    scores = torch.randperm(len(boxes), generator=generator).float()  # no ties
    groups = torch.randint(0, 3, (len(boxes),), generator=generator)
    split = OffsetNms()(boxes, scores, groups, 0.5)
    apart = [OffsetNms()(boxes[groups == g], scores[groups == g], groups[groups == g], 0.5) for g in range(3)]
    assert len(split) == sum(len(kept) for kept in apart)
    assert (scores[split].diff() < 0).all()


def test_many_boxes_go_group_by_group_but_shifted_all_the_same() -> None:
    # The borderline pair of the test above, among so many boxes that group 79 is done by itself.
    pair = torch.tensor([[100.0, 100, 102, 101], [100, 100, 101.002, 101]])
    others = torch.tensor([[0.0, 0, 2000, 2000]]).expand(SPLIT_FROM - 2, -1)
    scores = [0.5] * len(others) + [0.9, 0.8]
    kept = suppress(torch.cat((others, pair)), scores, [0] * len(others) + [79, 79], 0.5)
    assert kept[:2] == [len(others), len(others) + 1]
    assert len(kept) == 3


def test_torchvision_shifts_few_boxes_and_leaves_many_where_they_are() -> None:
    # As above: shifted by 79 groups an overlap just above one half is rounded to it; by 78 and one before them, too.
    boxes = torch.tensor([[0.0, 0, 2000, 2000], [100, 100, 102, 101], [100, 100, 101.002, 101]])
    assert suppress(boxes, [1.0, 0.9, 0.8], [0, 79, 79], 0.5, BatchedNms()) == [0, 1, 2]
    assert suppress(boxes, [1.0, 0.9, 0.8], [0, 1, 1], 0.5, BatchedNms()) == [0, 1]
    assert suppress(boxes, [1.0, 0.9, 0.8], [0, 1, 1], 0.5, BatchedNms(first=78)) == [0, 1, 2]
    others = torch.arange(1000)[:, None] * torch.ones(4) + torch.tensor([0.0, 0, 0.1, 0.1])  # apart from each other
    many = torch.cat((boxes, others))
    scores, groups = [1.0, 0.9, 0.8, *([0.5] * 1000)], [0, 79, 79, *([78] * 1000)]
    assert 2 not in suppress(many, scores, groups, 0.5, BatchedNms())
