"""What becomes a proposal or a detection, and in whose pixels, on boxes small enough to check by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from geometries import geometry
from torch import Tensor
from torchvision.models.detection.transform import resize_boxes, resize_keypoints

from zoo.data.detections import Detections
from zoo.models.boxes import BoxConvention
from zoo.models.coders import DeltaCoder
from zoo.models.nms import ExactNms
from zoo.models.selection import DetectionSelector, Proposals, ProposalSelector, large_enough
from zoo.types import ImageGeometry

INCLUSIVE = BoxConvention(inclusive=True)
APART = torch.tensor([[0.0, 0, 8, 8], [10, 0, 18, 8], [20, 0, 28, 8], [0, 10, 8, 18]])
"""Boxes that do not touch each other, in an image of 32 x 32 pixels."""


def propose(
    scores: list[list[list[float]]], anchors: list[Tensor], places: list[ImageGeometry] | None = None, **settings: Any
) -> list[Proposals]:
    """Proposals of images with these scores of each level's anchors, which are not moved."""
    selector = ProposalSelector(**{"pre_nms_top_n": 100, "post_nms_top_n": 100, **settings})
    ranked = torch.cat([torch.tensor(level) for level in scores], dim=1)
    coder = DeltaCoder(convention=settings.get("convention", BoxConvention()))
    places = places or [geometry((32, 32))] * len(ranked)
    sizes = [len(level) for level in anchors]
    best = selector.rank(ranked, torch.zeros(*ranked.shape, 4), torch.cat(anchors), sizes, coder)
    return selector.select(best, places)


def found_scores(found: list[Proposals]) -> list[list[float]]:
    return [[round(score, 4) for score in image.scores.tolist()] for image in found]


LEVELS = [[[0.9, 0.8, 0.7, 0.6]], [[0.95, 0.85, 0.1, 0.2]]]
"""Scores of two levels of one image."""


def test_counts_before_and_after_the_suppression() -> None:
    anchors = [APART, APART]
    assert found_scores(propose(LEVELS, anchors)) == [[0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.2, 0.1]]
    assert found_scores(propose(LEVELS, anchors, pre_nms_top_n=1)) == [[0.95, 0.9]]
    assert found_scores(propose(LEVELS, anchors, post_nms_top_n=3)) == [[0.95, 0.9, 0.85]]


@pytest.mark.parametrize("nms", [None, ExactNms()])
def test_a_level_may_keep_its_best_before_all_are_compared(nms: ExactNms | None) -> None:
    more: dict[str, Any] = {"nms": nms} if nms else {}
    found = propose(LEVELS, [APART, APART], level_top_n=3, post_nms_top_n=5, **more)
    assert found_scores(found) == [[0.95, 0.9, 0.85, 0.8, 0.7]]
    assert found_scores(propose(LEVELS, [APART, APART], level_top_n=1, **more)) == [[0.95, 0.9]]


def test_the_best_may_be_those_of_the_whole_batch() -> None:
    scores = [[[0.9, 0.8, 0.7, 0.6], [0.5, 0.95, 0.3, 0.4]]]
    assert found_scores(propose(scores, [APART], post_nms_top_n=3)) == [[0.9, 0.8, 0.7], [0.95, 0.5, 0.4]]
    assert found_scores(propose(scores, [APART], post_nms_top_n=3, over="batch")) == [[0.9, 0.8], [0.95]]


def test_proposals_are_clipped_to_the_extent() -> None:
    # Where the image is 20.5 pixels wide, not rounded, and its last pixel counts.
    narrow = ImageGeometry((8, 20), (8.0, 20.5), (1.0, 1.0), (8, 20), (32, 32))
    (found,) = propose([[[0.9, 0.8, 0.7, 0.6]]], [APART], [narrow])
    assert found.boxes.tolist() == [[0, 0, 8, 8], [10, 0, 18, 8], [20, 0, 20.5, 8]]
    (found,) = propose([[[0.9, 0.8, 0.7, 0.6]]], [APART], [narrow], convention=INCLUSIVE, nms=ExactNms(INCLUSIVE))
    assert found.boxes.tolist() == [[0, 0, 8, 7], [10, 0, 18, 7], [19.5, 0, 19.5, 7], [0, 7, 8, 7]]


@pytest.mark.parametrize(
    ("min_size", "convention", "kept"),
    [
        (0.0, BoxConvention(), [False, True, True, True]),
        (1.0, BoxConvention(), [False, False, True, True]),
        (1.5, BoxConvention(), [False, False, False, True]),
        (1.0, INCLUSIVE, [True, True, True, True]),
    ],
)
def test_smallest_sides(min_size: float, convention: BoxConvention, kept: list[bool]) -> None:
    boxes = torch.tensor([[3.0, 0, 3, 9], [3, 0, 3.5, 9], [3, 0, 4, 9], [3, 0, 9, 9]])
    assert large_enough(boxes, min_size, convention).tolist() == kept


def test_without_a_smallest_side_lines_are_proposals_too() -> None:
    anchors = [torch.tensor([[0.0, 0, 0, 8], [10, 0, 18, 8]])]
    assert found_scores(propose([[[0.9, 0.8]]], anchors, min_size=None)) == [[0.9, 0.8]]
    assert found_scores(propose([[[0.9, 0.8]]], anchors)) == [[0.8]]


def test_a_box_of_zeros_stands_for_a_level_of_which_nothing_is_left() -> None:
    # The second level's anchors are thinner than a pixel. As a logit, 0 outranks proposals that score less than half.
    anchors = [APART, APART * 0.05]
    logits = [[[2.0, 1.0, -1.0, -2.0]], [[9.0, 8.0, 7.0, 6.0]]]
    assert found_scores(propose(logits, anchors, min_size=1.0)) == [[2, 1, -1, -2]]
    (found,) = propose(logits, anchors, min_size=1.0, stand_in=0.0, nms=ExactNms())
    assert found.scores.tolist() == [2, 1, 0, -1, -2]
    assert found.boxes[2].tolist() == [0, 0, 0, 0]
    assert found_scores(propose(logits, anchors, min_size=1.0, stand_in=0.0, post_nms_top_n=3)) == [[2, 1, 0]]
    assert found_scores(propose(logits, [APART, APART], stand_in=0.0, level_top_n=1)) == [[9, 2]]


def test_zeros_fill_up_what_is_too_few() -> None:
    (found,) = propose([[[0.9, 0.8, 0.7, 0.6]]], [APART], fill=True, post_nms_top_n=6)
    assert found.scores.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6, 0, 0])
    assert found.boxes[4:].tolist() == [[0, 0, 0, 0]] * 2
    assert found_scores(propose([[[0.9, 0.8, 0.7, 0.6]]], [APART], fill=True, post_nms_top_n=2)) == [[0.9, 0.8]]


@pytest.mark.parametrize(("keep_ties", "kept"), [(False, 2), (True, 4)])
def test_what_ties_with_the_last_may_be_kept(keep_ties: bool, kept: int) -> None:
    selector = DetectionSelector(0.0, 0.5, max_detections=2, nms=ExactNms(), keep_ties=keep_ties)
    scores = torch.tensor([0.5, 0.9, 0.5, 0.4, 0.5])
    boxes = torch.arange(5.0)[:, None] * 10 + torch.tensor([0.0, 0, 5, 5])
    found = selector.select(boxes, scores, torch.zeros(5, dtype=torch.int64), geometry((100, 100)))
    assert found.scores.tolist() == pytest.approx([0.9, 0.5, 0.5, 0.5][:kept])
    assert len(selector.select(boxes[:1], scores[:1], torch.zeros(1, dtype=torch.int64), geometry((100, 100)))) == 1


def select(boxes: Tensor, selector: DetectionSelector, place: ImageGeometry) -> Detections:
    """Detections of one class with falling scores, in pixels of the original."""
    scores = torch.linspace(0.9, 0.5, len(boxes))
    references = selector.clip(selector.references(boxes, place), place)
    found = selector.select(references, scores, torch.zeros(len(boxes), dtype=torch.int64), place)
    return selector.to_original(found, place)


def selector(**settings: Any) -> DetectionSelector:
    return DetectionSelector(**{"score_threshold": 0.05, "iou_threshold": 0.5, "max_detections": 100, **settings})


PLACE = geometry((32, 64), (2.0, 4.0))
"""An image of 8 x 32 pixels, twice as wide and four times as high in the input."""


@pytest.mark.parametrize(
    "frames",
    [
        {"decode_frame": "input", "nms_frame": "original"},
        {"decode_frame": "input", "nms_frame": "input"},
        {"decode_frame": "original", "nms_frame": "original"},
    ],
)
def test_every_frame_ends_in_pixels_of_the_original(frames: dict[str, str]) -> None:
    boxes = torch.tensor([[-4.0, 8, 80, 16], [40, 16, 60, 32]])
    found = select(boxes, selector(**frames), PLACE)
    assert found.boxes.tolist() == [[0, 2, 32, 4], [20, 4, 30, 8]]


def test_a_pixel_more_counts_in_the_frame_of_suppression() -> None:
    # In the input 16 and 8 pixels wide, or 15 and 7 by their corners; in the original 8.5 and 4.5 wide.
    boxes = torch.tensor([[0.0, 0, 15, 3], [0, 0, 7, 3]])
    of_input, of_original = (
        selector(nms_frame=frame, nms=ExactNms(INCLUSIVE), convention=INCLUSIVE) for frame in ("input", "original")
    )
    assert len(select(boxes, of_input, PLACE)) == 2  # 8 / 16, not above the threshold
    assert len(select(boxes, of_original, PLACE)) == 1  # 4.5 / 8.5


def test_a_pixel_less_in_the_frame_of_decoding() -> None:
    boxes = torch.tensor([[0.0, 0, 500, 500]])
    settings: dict[str, Any] = {"convention": INCLUSIVE, "nms_frame": "original"}
    assert select(boxes, selector(**settings), PLACE).boxes.tolist() == [[0, 0, 31.5, 7.75]]
    assert select(boxes, selector(**settings, decode_frame="original"), PLACE).boxes.tolist() == [[0, 0, 31, 7]]


def test_what_leaves_the_image_once_it_is_divided_is_cut_and_what_has_no_area_is_not_reported() -> None:
    # 33 input pixels by a factor of 4 are a little more than the 8 of the original.
    place = ImageGeometry((33, 64), (33, 64), (2.0, 4.0), (8, 32), (33, 64))
    boxes = torch.tensor([[0.0, 0, 32, 33], [40, 32.5, 60, 33]])
    plain, cut = (selector(nms_frame="input", clip_original=cut) for cut in (False, True))
    assert select(boxes, plain, place).boxes.tolist() == [[0, 0, 16, 8.25], [20, 8.125, 30, 8.25]]
    found = select(boxes, cut, place)
    assert found.boxes.tolist() == [[0, 0, 16, 8], [20, 8, 30, 8]]
    assert cut.reported(found).boxes.tolist() == [[0, 0, 16, 8]]
    assert len(plain.reported(found)) == 2


def test_boxes_of_the_original_are_not_suppressed_in_the_input() -> None:
    with pytest.raises(ValueError, match="original pixels cannot"):
        selector(decode_frame="original", nms_frame="input")


def test_candidates_score_above_the_threshold() -> None:
    scores = torch.tensor([[0.05, 0.2], [0.4, 0.3]])
    row, label, found = selector().candidates(scores)
    assert (row.tolist(), label.tolist()) == ([0, 1, 1], [1, 0, 1])
    row, label, found = selector(pre_nms_top_n=2).candidates(scores)
    assert (row.tolist(), label.tolist()) == ([1, 1], [0, 1])
    assert found.tolist() == pytest.approx([0.4, 0.3])


def test_the_best_detections_are_kept() -> None:
    assert select(APART, selector(max_detections=3), geometry((32, 32))).scores.tolist() == pytest.approx(
        torch.linspace(0.9, 0.5, 4)[:3].tolist()
    )


def test_empty_boxes_may_be_dropped() -> None:
    boxes = torch.tensor([[0.0, 0, 0, 9], [0, 0, 9, 9]])
    assert len(select(boxes, selector(), geometry((32, 32)))) == 2
    assert len(select(boxes, selector(min_size=0), geometry((32, 32)))) == 1


def test_boxes_and_keypoints_come_to_the_original_by_the_ratio_of_the_sizes_as_torchvision_has_it() -> None:
    generator = torch.Generator().manual_seed(0)
    boxes, keypoints = torch.rand(50, 4, generator=generator) * 800, torch.rand(50, 17, 3, generator=generator) * 800
    size, original = (800, 1066), (427, 569)
    scale = (size[1] / original[1], size[0] / original[0])
    seen = ImageGeometry(size, size, scale, original, size)
    found = Detections(boxes, torch.ones(50), torch.zeros(50, dtype=torch.int64), keypoints=keypoints)
    values: dict[str, Any] = {"score_threshold": 0.0, "iou_threshold": 0.5, "max_detections": 100, "nms_frame": "input"}
    ours = DetectionSelector(**values, rescale="by_ratio").to_original(found, seen)
    assert torch.equal(ours.boxes, resize_boxes(boxes, list(size), list(original)))
    assert ours.keypoints is not None
    assert torch.equal(ours.keypoints, resize_keypoints(keypoints, list(size), list(original)))
    divided = DetectionSelector(**values).to_original(found, seen).boxes
    assert not torch.equal(divided, ours.boxes)
    assert torch.allclose(divided, ours.boxes, rtol=1e-6, atol=0)
    with pytest.raises(ValueError, match="rescale: 'ratio' is none of by_scale, by_ratio"):
        DetectionSelector(**values, rescale="ratio")  # type: ignore[arg-type] # on purpose


def test_each_class_may_keep_its_best_alone() -> None:
    selector = DetectionSelector(0.1, 0.5, 100, class_top_n=2)
    scores = torch.tensor([[0.2, 0.1], [0.9, 0.3], [0.5, 0.05]])
    rows, labels, kept = selector.candidates(scores)
    assert (rows.tolist(), labels.tolist()) == ([1, 2, 1], [0, 0, 1])
    assert torch.equal(kept, torch.tensor([0.9, 0.5, 0.3]))
    assert selector.candidates(scores[:1])[0].tolist() == [0]
    with pytest.raises(ValueError, match="of all pairs, or of each class"):
        DetectionSelector(0.1, 0.5, 100, pre_nms_top_n=1000, class_top_n=400)


def test_the_best_pairs_are_those_that_sorting_all_of_them_finds() -> None:
    scores = torch.randint(0, 40, (300, 7), generator=torch.Generator().manual_seed(0)) / 40  # many are equal
    every, some = (DetectionSelector(0.1, 0.5, 100, pre_nms_top_n=n).candidates(scores) for n in (3000, 123))
    assert len(every[0]) > 1500
    assert all(torch.equal(cut, whole[:123]) for cut, whole in zip(some, every, strict=True))
    rows, labels, best = every
    assert torch.equal(best, scores[rows, labels])
    assert torch.equal(best, scores[scores > 0.1].sort(descending=True).values)
