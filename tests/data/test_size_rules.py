"""Sizes, factors, batch shapes and offsets by the rules of each source."""

from __future__ import annotations

import pytest

from zoo.data.size_rules import ByFactor, KeepRatio, Letterbox, letterbox_offset
from zoo.types import Size

LETTERBOX = Letterbox(long=640, stride=32, pad=0.5)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 640), (800, 1067)),
        ((640, 428), (1196, 800)),
        ((800, 1333), (800, 1333)),
        ((100, 1000), (133, 1333)),
        ((2000, 2000), (800, 800)),
        ((1600, 1601), (800, 801)),  # 800.5: halves up
        ((1603, 1600), (802, 800)),  # 801.5
        ((2000, 2001), (800, 800)),  # 800.4
        ((2001, 2000), (800, 800)),
    ],
)
def test_keep_ratio_rounds_to_the_nearest_pixel(size: Size, expected: Size) -> None:
    assert KeepRatio(1333, 800)(size).size == expected


def test_keep_ratio_takes_its_factors_from_the_rounded_sides() -> None:
    assert KeepRatio(1333, 800)((480, 640)).scale == (1067 / 640, 800 / 480)
    assert KeepRatio(1333, 800).batch_shape([(480, 640)]) is None
    assert KeepRatio(1333, 800).square is None


@pytest.mark.parametrize(
    ("size", "factor", "expected"),
    [
        ((480, 640), 800 / 480, (800, 1067)),
        ((640, 428), 800 / 428, (1196, 800)),
        ((100, 1000), 1.333, (133, 1333)),
        ((1600, 1601), 0.5, (800, 800)),  # 800.5: halves to even
        ((1600, 1603), 0.5, (800, 802)),  # 801.5
    ],
)
def test_by_factor_has_one_factor_and_rounds_halves_to_even(size: Size, factor: float, expected: Size) -> None:
    resize = ByFactor(short=800, long=1333)(size)
    assert resize.size == expected
    assert resize.scale == (factor, factor)


def test_by_factor_may_leave_the_longer_side_free() -> None:
    assert ByFactor(short=600)((100, 1000)).size == (600, 6000)


@pytest.mark.parametrize(("round_before_limit", "factor"), [(False, 1000 / 2001), (True, 0.5)])
def test_the_limit_holds_before_or_after_rounding(round_before_limit: bool, factor: float) -> None:
    # The longer side would be 1000.5: beyond the limit, unless it is rounded first, to 1000.
    rule = ByFactor(short=640, long=1000, round_before_limit=round_before_limit)
    assert rule((1280, 2001)).scale == (factor, factor)


def test_a_limit_that_is_exceeded_after_rounding_holds() -> None:
    assert ByFactor(short=640, long=640, round_before_limit=True)((480, 640)).size == (480, 640)


@pytest.mark.parametrize(
    ("size", "resized"),
    [((480, 640), (480, 640)), ((333, 500), (427, 640)), ((640, 427), (640, 427)), ((1280, 961), (640, 481))],
)
def test_letterbox_rounds_sides_up(size: Size, resized: Size) -> None:
    resize = LETTERBOX(size)
    assert resize.size == resized
    assert resize.scale == (resized[1] / size[1], resized[0] / size[0])


@pytest.mark.parametrize(
    ("sizes", "shape"),
    [
        ([(480, 640)], (512, 672)),  # 0.75 * 20 + 0.5 -> 16 strides, 20 + 0.5 -> 21
        ([(640, 426)], (672, 448)),
        ([(640, 640)], (672, 672)),
        ([(320, 640), (424, 640)], (448, 672)),  # as high as the highest
        ([(640, 480), (640, 320)], (672, 512)),  # as wide as the widest
        ([(480, 640), (640, 480)], (672, 672)),
    ],
)
def test_the_batch_shape_fits_the_ratios_of_a_batch(sizes: list[Size], shape: Size) -> None:
    assert LETTERBOX.batch_shape(sizes) == shape


@pytest.mark.parametrize(("long", "side"), [(640, 640), (100, 128)])
def test_the_square_has_whole_strides(long: int, side: int) -> None:
    assert Letterbox(long, stride=32, pad=0.5).square == (side, side)


def test_the_odd_pixel_of_a_letterbox_goes_below_and_to_the_right() -> None:
    assert letterbox_offset((111, 140), (100, 131)) == (5, 4)
