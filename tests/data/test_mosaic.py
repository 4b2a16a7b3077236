"""Mosaic, copy-paste, mixup, scaling, colours: what becomes of pixels and boxes, on scenes made up by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from zoo.data.affine import ScaleAndShift, visible_extents, worth_keeping
from zoo.data.color import color_tables, recolored
from zoo.data.mosaic import copy_paste, covered, mixup, mosaic
from zoo.data.scene import GREY, Scene, letterboxed, resized_scene
from zoo.data.yolo_labels import Labels, resample


def corners(x1: float, y1: float, x2: float, y2: float) -> np.ndarray:
    return resample(np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], dtype=np.float32))


def scene(size: tuple[int, int], level: int, *boxes: tuple[float, float, float, float]) -> Scene:
    """A scene of one grey, whose objects are rectangles, labelled by their number."""
    return Scene(
        pixels=np.full((*size, 3), level, dtype=np.uint8),
        labels=np.arange(len(boxes), dtype=np.int64),
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        outlines=np.array([corners(*box) for box in boxes], dtype=np.float32).reshape(-1, 1000, 2),
    )


def levels(made: Scene) -> list[list[int]]:
    rows: list[list[int]] = made.pixels[:, :, 0].tolist()
    return rows


def test_images_are_enlarged_to_the_side() -> None:
    labels = Labels(np.array([3]), np.array([[0.25, 0, 0.75, 1]], np.float32), corners(0.25, 0, 0.75, 1)[None])
    made = resized_scene(np.zeros((3, 4, 3), dtype=np.uint8), labels, 8)
    assert made.size == (6, 8)
    assert made.boxes.tolist() == [[2, 0, 6, 6]]
    assert made.outlines[0].max(axis=0).tolist() == [6, 6]
    assert resized_scene(np.zeros((100, 33, 3), dtype=np.uint8), labels, 8).size == (8, 3)  # 2.64 rounded up


def test_letterbox() -> None:
    made = letterboxed(scene((2, 4), 9, (1, 0, 3, 2)), 4)
    assert levels(made) == [[GREY] * 4, [9] * 4, [9] * 4, [GREY] * 4]
    assert made.boxes.tolist() == [[1, 1, 3, 3]]


def test_four_scenes_meet_at_the_centre() -> None:
    parts = [scene((2, 2), level, (0, 0, 2, 2)) for level in (1, 2, 3, 4)]
    made = mosaic(parts, 2, (2, 2))
    assert levels(made) == [[1, 1, 2, 2]] * 2 + [[3, 3, 4, 4]] * 2
    assert made.boxes.tolist() == [[0, 0, 2, 2], [2, 0, 4, 2], [0, 2, 2, 4], [2, 2, 4, 4]]


def test_scenes_are_cut_at_the_border_of_the_mosaic_and_leave_grey() -> None:
    parts = [scene((2, 2), 1, (0, 0, 2, 2)), *(scene((1, 2), level, (0, 0, 2, 1)) for level in (2, 3, 4))]
    made = mosaic(parts, 2, (1, 1))
    g = GREY
    # Of the first only its bottom right pixel is left; the others are one row high.
    assert levels(made) == [[1, 2, 2, g], [3, 4, 4, g], [g] * 4, [g] * 4]
    assert made.boxes.tolist() == [[0, 0, 1, 1], [1, 0, 3, 1], [0, 1, 1, 2], [1, 1, 3, 2]]
    assert made.outlines[0].min() == 0


def test_objects_that_are_cut_off_are_left_out() -> None:
    parts = [scene((4, 4), 1, (0, 0, 2, 2), (2, 2, 4, 4)), *(scene((4, 4), 2) for _ in range(3))]
    made = mosaic(parts, 4, (2, 2))
    assert made.labels.tolist() == [1]
    assert made.boxes.tolist() == [[0, 0, 2, 2]]


def test_copies_are_mirrored_where_they_have_room() -> None:
    original = scene((4, 12), 7, (0, 0, 3, 3))
    original.pixels[:3, :3] = 200
    made = copy_paste(original, 1.0, np.random.default_rng(0))
    assert made.labels.tolist() == [0, 0]
    assert made.boxes.tolist() == [[0, 0, 3, 3], [9, 0, 12, 3]]
    assert made.pixels[:3, 9:].tolist() == np.full((3, 3, 3), 200).tolist()
    assert original.pixels[:3, 9:].max() == 7


def test_copies_that_would_cover_an_object_are_not_made() -> None:
    middle = scene((4, 12), 7, (4, 0, 8, 4))  # its mirror image is itself
    assert copy_paste(middle, 1.0, np.random.default_rng(0)) is middle
    apart = scene((4, 30), 7, (0, 0, 3, 3), (5, 0, 8, 3))
    assert len(copy_paste(apart, 0.5, np.random.default_rng(0)).labels) == 3
    assert len(copy_paste(apart, 0.0, np.random.default_rng(0)).labels) == 2
    empty = scene((4, 4), 7)
    assert copy_paste(empty, 1.0, np.random.default_rng(0)) is empty


def test_share_of_another_box_that_is_covered() -> None:
    boxes, others = np.array([[0, 0, 4, 4]], np.float32), np.array([[2, 0, 6, 2], [5, 5, 6, 6]], np.float32)
    assert covered(boxes, others).tolist() == [[0.5, 0]]


def test_mixup_has_the_objects_of_both() -> None:
    made = mixup(scene((2, 2), 100, (0, 0, 1, 1)), scene((2, 2), 200, (1, 1, 2, 2)), 0.25)
    assert levels(made) == [[175, 175]] * 2
    assert made.boxes.tolist() == [[0, 0, 1, 1], [1, 1, 2, 2]]


def test_scale_and_shift() -> None:
    made = ScaleAndShift(factor=2, right=-10, down=6, side=40)(scene((20, 20), 50, (6, 4, 16, 14)))
    assert made.boxes.tolist() == [[2, 14, 22, 34]]
    assert made.size == (40, 40)
    assert made.pixels[:5].max() == made.pixels[:5].min() == GREY
    assert made.pixels[8:40, :29].max() == 50


def test_boxes_end_with_what_is_seen_of_their_outlines() -> None:
    triangle = resample(np.array([(0, 10), (40, 10), (40, 30)], dtype=np.float32))
    boxes, seen = visible_extents(triangle[None], 20)
    # The long side leaves the square at (20, 20): nothing of the triangle is lower than that.
    assert seen.tolist() == [True]
    np.testing.assert_allclose(boxes, [[0, 10, 20, 20]], atol=0.12)
    gone, seen = visible_extents(np.stack((triangle + 100, triangle)), 20)
    assert seen.tolist() == [False, True]
    assert gone[0].tolist() == [0, 0, 0, 0]
    assert visible_extents(triangle[:0][None][:0], 20)[0].shape == (0, 4)


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        ((10, 10), (10, 10), True),
        ((10, 10), (2, 10), False),  # as thin as two pixels
        ((10, 10), (2.1, 10), True),
        ((100, 100), (10, 9.9), False),  # less than a hundredth is left
        ((100, 100), (10, 10.1), True),
        ((300, 3), (300, 3), False),  # a hundred times as long as wide
        ((299, 3), (299, 3), True),
    ],
)
def test_what_is_worth_keeping(before: tuple[float, float], after: tuple[float, float], kept: bool) -> None:
    old, new = (np.array([[0, 0, *sides]], dtype=np.float32) for sides in (before, after))
    assert worth_keeping(old, new).tolist() == [kept]


def test_drawn_places_stay_within_their_limits() -> None:
    generator = np.random.default_rng(0)
    drawn = [ScaleAndShift.draw(60, 40, 100, scale=0.5, translate=0.1, generator=generator) for _ in range(500)]
    middles = np.array([(d.factor * 30 + d.right, d.factor * 20 + d.down) for d in drawn])
    factors = [d.factor for d in drawn]
    assert 0.5 <= min(factors) < 0.52
    assert 1.48 < max(factors) <= 1.5
    assert 40 <= middles.min() < 41
    assert 59 < middles.max() <= 60


def test_mirrored() -> None:
    original = scene((2, 4), 0, (0, 0, 1, 2))
    original.pixels[:, 0] = 9
    made = original.mirrored()
    assert levels(made) == [[0, 0, 0, 9]] * 2
    assert made.boxes.tolist() == [[3, 0, 4, 2]]
    assert made.outlines[0].min(axis=0).tolist() == [3, 0]


def test_color_tables() -> None:
    hue, saturation, value = color_tables((1.01, 1.5, 0.6)).tolist()
    # 179 * 1.01 goes round; 180 and above never occur; what passes 255 stays there.
    assert [hue[0], hue[100], hue[179]] == [0, 101, 0]
    assert [saturation[100], saturation[170], saturation[171], saturation[255]] == [150, 255, 255, 255]
    assert [value[100], value[255]] == [60, 153]


def test_recolored() -> None:
    pixels = np.array([[[0, 0, 200], [90, 90, 90]]], dtype=np.uint8)  # red, grey
    assert recolored(pixels, (1, 1, 0.5)).tolist() == [[[0, 0, 100], [45, 45, 45]]]
    faded = cv2.cvtColor(recolored(pixels, (1, 0.5, 1)), cv2.COLOR_BGR2HSV)
    assert faded[0, :, 1].tolist() == pytest.approx([127, 0], abs=1)
    assert recolored(pixels, (1, 1, 1)).tolist() == pixels.tolist()
