"""Scaling and shifting: what becomes of pixels and boxes, and which objects are kept."""

from __future__ import annotations

import numpy as np
import pytest
from labeled_images import make_image

from zoo.data.augment.affine import RandomAffine, affine, box_candidates, visible_extents
from zoo.data.augment.labeled_image import GREY
from zoo.data.augment.outlines import resample


def test_scale_and_shift() -> None:
    made = affine(make_image((20, 20), 50, (6, 4, 16, 14)), side=40, factor=2, shift=(-10, 6))
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
def test_box_candidates(before: tuple[float, float], after: tuple[float, float], kept: bool) -> None:
    old, new = (np.array([[0, 0, *sides]], dtype=np.float32) for sides in (before, after))
    assert box_candidates(old, new).tolist() == [kept]


def test_what_is_drawn_stays_within_its_limits() -> None:
    operation, generator = RandomAffine(side=100, scale=0.5, translate=0.1), np.random.default_rng(0)
    image = make_image((40, 60), 0, (20, 10, 40, 30))  # in the middle, 20 pixels wide and high
    boxes = np.array([operation(image, generator).boxes[0] for _ in range(500)])
    factors, middles = (boxes[:, 2] - boxes[:, 0]) / 20, (boxes[:, :2] + boxes[:, 2:]) / 2
    assert 0.5 <= factors.min() + 1e-5 < 0.52
    assert 1.48 < factors.max() - 1e-5 <= 1.5
    assert 40 <= middles.min() + 1e-4 < 41
    assert 59 < middles.max() - 1e-4 <= 60
