"""Overlap, clipping and suppression on boxes small enough to check by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.models import boxes as box_ops


def test_pairwise_iou() -> None:
    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 0, 0]])
    others = torch.tensor([[1.0, 1, 3, 3], [0, 0, 2, 2], [5, 5, 6, 6]])
    expected = torch.tensor([[1 / 7, 1.0, 0.0], [0, 0, 0]])
    assert torch.allclose(box_ops.pairwise_iou(boxes, others), expected)


def test_unions_are_taken_for_at_least_a_millionth() -> None:
    """Small boxes have their true overlap; only below a thousandth of a pixel a side does it fall towards 0."""
    sides = torch.tensor([0.05, 1e-3, 1e-4])
    boxes = torch.stack((torch.zeros(3), torch.zeros(3), sides, sides), dim=1)
    assert torch.allclose(box_ops.pairwise_iou(boxes, boxes).diagonal(), torch.tensor([1.0, 1.0, 0.01]))


def test_clip_includes_the_far_edge() -> None:
    boxes = torch.tensor([[-5.0, -5, 50, 50]])
    assert box_ops.clip(boxes, (20, 30)).tolist() == [[0, 0, 30, 20]]


def test_not_empty_is_strict() -> None:
    boxes = torch.tensor([[0.0, 0, 1, 1], [0, 0, 0, 1], [2, 2, 3, 1]])
    assert box_ops.not_empty(boxes).tolist() == [True, False, False]


def suppress(boxes: Tensor, scores: list[float], groups: list[int], threshold: float) -> list[int]:
    return box_ops.grouped_nms(boxes, torch.tensor(scores), torch.tensor(groups), threshold).tolist()


def test_nms_keeps_groups_apart() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 8]])
    assert suppress(boxes, [0.5, 0.9, 0.8], [0, 0, 1], 0.5) == [1, 2]
    assert suppress(boxes, [0.5, 0.9, 0.8], [0, 0, 0], 0.5) == [1]


def test_nms_keeps_groups_a_pixel_apart() -> None:
    # The second begins a pixel outside of the image: shifted by the largest coordinate and 1 it just touches the first.
    boxes = torch.tensor([[0.0, 0, 2, 2], [-1, -1, 1, 1]])
    assert suppress(boxes, [0.9, 0.8], [0, 1], 0.1) == [0, 1]
    assert suppress(boxes, [0.9, 0.8], [0, 0], 0.1) == [0]


def test_nms_threshold_is_strict_and_a_float32() -> None:
    # IoU of these two is 7/10, whose nearest float32 is below the double 0.7: only a float32 threshold keeps both.
    boxes = torch.tensor([[0.0, 0, 10, 1], [0, 0, 7, 1]])
    assert suppress(boxes, [0.9, 0.8], [0, 0], 0.7) == [0, 1]
    assert suppress(boxes, [0.9, 0.8], [0, 0], 0.69) == [0]


def test_nms_shifts_groups_in_float32() -> None:
    # Group 79 lies 79 * 2001 pixels away, where float32 resolves 1/64: an overlap just above one half is rounded to it.
    boxes = torch.tensor([[0.0, 0, 2000, 2000], [100, 100, 102, 101], [100, 100, 101.002, 101]])
    alone = suppress(boxes[1:], [0.9, 0.8], [0, 0], 0.5)
    shifted = suppress(boxes, [1.0, 0.9, 0.8], [0, 79, 79], 0.5)
    assert alone == [0]
    assert shifted == [0, 1, 2]


def test_nms_of_many_boxes_agrees_with_nms_of_few() -> None:
    generator = torch.Generator().manual_seed(0)
    corner = torch.randint(0, 200, (box_ops.SPLIT_FROM, 2), generator=generator).float()
    size = torch.randint(8, 64, (box_ops.SPLIT_FROM, 2), generator=generator).float()
    boxes = torch.cat((corner, corner + size), dim=1)
    scores = torch.randperm(len(boxes), generator=generator).float()  # no ties
    groups = torch.randint(0, 3, (len(boxes),), generator=generator)
    split = box_ops.grouped_nms(boxes, scores, groups, 0.5)
    joint = torch.cat(
        [box_ops.grouped_nms(boxes[groups == g], scores[groups == g], groups[groups == g], 0.5) for g in range(3)]
    )
    assert len(split) == len(joint)
    assert (scores[split].diff() < 0).all()


def test_nms_of_many_boxes_goes_group_by_group_but_shifted_all_the_same() -> None:
    # The borderline pair of the test above, among so many boxes that group 79 is done by itself.
    pair = torch.tensor([[100.0, 100, 102, 101], [100, 100, 101.002, 101]])
    others = torch.tensor([[0.0, 0, 2000, 2000]]).expand(box_ops.SPLIT_FROM - 2, -1)
    scores = [0.5] * len(others) + [0.9, 0.8]
    kept = suppress(torch.cat((others, pair)), scores, [0] * len(others) + [79, 79], 0.5)
    assert kept[:2] == [len(others), len(others) + 1]
    assert len(kept) == 3


def test_nms_of_nothing() -> None:
    assert suppress(torch.zeros(0, 4), [], [], 0.5) == []
