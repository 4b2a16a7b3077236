"""Mosaic, copy-paste, mixup: what becomes of pixels and boxes, on images made up by hand."""

from __future__ import annotations

import numpy as np
from labeled_images import levels, make_image

from zoo.data.augment.labeled_image import GREY
from zoo.data.augment.mosaic import copy_paste, ioa, mixup, mosaic


def test_four_images_meet_at_the_centre() -> None:
    parts = [make_image((2, 2), level, (0, 0, 2, 2)) for level in (1, 2, 3, 4)]
    made = mosaic(parts, 2, (2, 2))
    assert levels(made) == [[1, 1, 2, 2]] * 2 + [[3, 3, 4, 4]] * 2
    assert made.boxes.tolist() == [[0, 0, 2, 2], [2, 0, 4, 2], [0, 2, 2, 4], [2, 2, 4, 4]]


def test_images_are_cut_at_the_border_of_the_mosaic_and_leave_grey() -> None:
    parts = [make_image((2, 2), 1, (0, 0, 2, 2)), *(make_image((1, 2), level, (0, 0, 2, 1)) for level in (2, 3, 4))]
    made = mosaic(parts, 2, (1, 1))
    g = GREY
    # Of the first only its bottom right pixel is left; the others are one row high.
    assert levels(made) == [[1, 2, 2, g], [3, 4, 4, g], [g] * 4, [g] * 4]
    assert made.boxes.tolist() == [[0, 0, 1, 1], [1, 0, 3, 1], [0, 1, 1, 2], [1, 1, 3, 2]]
    assert made.outlines[0].min() == 0


def test_objects_that_are_cut_off_are_left_out() -> None:
    parts = [make_image((4, 4), 1, (0, 0, 2, 2), (2, 2, 4, 4)), *(make_image((4, 4), 2) for _ in range(3))]
    made = mosaic(parts, 4, (2, 2))
    assert made.labels.tolist() == [1]
    assert made.boxes.tolist() == [[0, 0, 2, 2]]


def test_copies_are_flipped_where_they_have_room() -> None:
    original = make_image((4, 12), 7, (0, 0, 3, 3))
    original.pixels[:3, :3] = 200
    made = copy_paste(original, 1.0, np.random.default_rng(0))
    assert made.labels.tolist() == [0, 0]
    assert made.boxes.tolist() == [[0, 0, 3, 3], [9, 0, 12, 3]]
    assert made.pixels[:3, 9:].tolist() == np.full((3, 3, 3), 200).tolist()
    assert original.pixels[:3, 9:].max() == 7


def test_copies_that_would_cover_an_object_are_not_made() -> None:
    middle = make_image((4, 12), 7, (4, 0, 8, 4))  # flipped it is where it was
    assert copy_paste(middle, 1.0, np.random.default_rng(0)) is middle
    apart = make_image((4, 30), 7, (0, 0, 3, 3), (5, 0, 8, 3))
    assert len(copy_paste(apart, 0.5, np.random.default_rng(0)).labels) == 3
    assert len(copy_paste(apart, 0.0, np.random.default_rng(0)).labels) == 2
    empty = make_image((4, 4), 7)
    assert copy_paste(empty, 1.0, np.random.default_rng(0)) is empty


def test_share_of_another_box_that_is_ioa() -> None:
    boxes, others = np.array([[0, 0, 4, 4]], np.float32), np.array([[2, 0, 6, 2], [5, 5, 6, 6]], np.float32)
    assert ioa(boxes, others).tolist() == [[0.5, 0]]


def test_mixup_has_the_objects_of_both() -> None:
    made = mixup(make_image((2, 2), 100, (0, 0, 1, 1)), make_image((2, 2), 200, (1, 1, 2, 2)), 0.25)
    assert levels(made) == [[175, 175]] * 2
    assert made.boxes.tolist() == [[0, 0, 1, 1], [1, 1, 2, 2]]
