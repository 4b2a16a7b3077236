from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pycocotools import mask as coco_mask

from zoo.data.shapes.drawing import (
    SUBPIXELS,
    TURN,
    Pattern,
    corners,
    disc,
    framed,
    is_clear_cut,
    pattern,
    polygon,
    radius_for,
    rim,
    sine,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' decode

TRIANGLE = [(0, 1000), (40, 1000), (80, 1000)]


def picture(mask: npt.NDArray[np.bool_]) -> list[str]:
    return ["".join("#" if pixel else "." for pixel in row) for row in mask]


def test_the_sine_is_the_sine() -> None:
    for step in range(-TURN, 2 * TURN):
        assert sine(step) == round(2**14 * math.sin(2 * math.pi * step / TURN))


def test_a_triangle_of_four_pixels_radius() -> None:
    vertices, size = framed(corners(TRIANGLE, radius=4 * SUBPIXELS, turned=90))
    assert vertices.tolist() == [[20, 0], [37, 30], [3, 30]]
    assert picture(polygon(vertices, size)) == [
        "........",
        "...##...",
        "...##...",
        "..####..",
        ".######.",
        ".######.",
    ]


def test_a_rectangle_on_whole_pixels_has_these_pixels() -> None:
    vertices = SUBPIXELS * np.array([[1, 1], [4, 1], [4, 3], [1, 3]])
    assert picture(polygon(vertices, (4, 5))) == [".....", ".###.", ".###.", "....."]


def test_a_disc_of_six_pixels_and_its_rim() -> None:
    assert picture(disc(6)) == [".####.", "######", "######", "######", "######", ".####."]
    assert picture(rim(disc(6))) == [".####.", "#....#", "#....#", "#....#", "#....#", ".####."]


def test_a_disc_with_a_hole_is_a_ring() -> None:
    assert picture(disc(8, hole=4)) == [
        "..####..",
        ".######.",
        "###..###",
        "##....##",
        "##....##",
        "###..###",
        ".######.",
        "..####..",
    ]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("plain", ["......", "......", "......", "......"]),
        ("columns", ["..##..", "..##..", "..##..", "..##.."]),
        ("rows", ["......", "......", "######", "######"]),
        ("diagonals", ["..##..", ".##..#", "##..##", "#..##."]),
        ("checks", ["..##..", "..##..", "##..##", "##..##"]),
        ("dots", ["......", "..#...", ".###.#", "..#..."]),
    ],
)
def test_patterns(kind: Pattern, expected: list[str]) -> None:
    assert picture(pattern(kind, 2, (4, 6))) == expected


def test_an_outline_covers_the_area_asked_for() -> None:
    vertices, size = framed(corners(TRIANGLE, radius_for(side=60, coverage=1299), turned=7))
    assert polygon(vertices, size).sum() == pytest.approx(60**2, rel=0.01)


def test_a_polygon_has_the_pixels_that_pycocotools_decodes() -> None:
    state = np.random.RandomState(0)
    compared = 0
    for _ in range(300):
        polar = [(int(step), int(state.randint(300, 1001))) for step in np.cumsum(state.randint(8, 30, size=6))]
        vertices, size = framed(corners(polar, radius=int(state.randint(20, 300)), turned=int(state.randint(TURN))))
        if is_clear_cut(vertices):
            polygons: Any = [(vertices / SUBPIXELS).ravel().tolist()]
            encoded = coco_mask.frPyObjects(polygons, *size)
            assert np.array_equal(coco_mask.decode(coco_mask.merge(encoded)), polygon(vertices, size))
            compared += 1
    assert compared > 200


def test_an_edge_through_a_half_at_the_middle_of_a_column_is_not_clear_cut() -> None:
    assert is_clear_cut(np.array([[0, 0], [20, 5], [0, 20]]))
    assert not is_clear_cut(np.array([[0, 2], [20, 7], [0, 20]]))  # at x = 2 the first edge is at y = 2.5
