"""Drawing in whole numbers: outlines, fills and patterns that come out the same on every machine.

No float takes part: compilers and processors may round those differently, and one other pixel is another data set.
Legend for shapes: H height, W width in pixels, V vertices.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from zoo.types import Size

Mask: TypeAlias = npt.NDArray[np.bool_]
Vertices: TypeAlias = npt.NDArray[np.int64]
Polar: TypeAlias = Sequence[tuple[int, int]]
Pattern: TypeAlias = Literal["plain", "columns", "rows", "diagonals", "checks", "dots"]

SUBPIXELS = 5
"""Parts of a pixel in which vertices are given: the grid on which COCO's own tools rasterise polygons."""

TURN = 120
"""Steps in a full turn: 3 degrees each, so that 3, 4 and 5 corners all lie on whole steps."""

_ONE = 1 << 14
# round(2**14 * sin(3 degrees * k)) for the first quarter of a turn: a table, because sin() is not exact by any standard
_QUARTER = (
    *(0, 857, 1713, 2563, 3406, 4240, 5063, 5872, 6664, 7438, 8192, 8923, 9630, 10311, 10963, 11585),
    *(12176, 12733, 13255, 13741, 14189, 14598, 14968, 15296, 15582, 15826, 16026, 16182, 16294, 16362, 16384),
)


def sine(step: int) -> int:
    """2**14 times the sine of an angle in steps of 3 degrees."""
    half, step = divmod(step % TURN, TURN // 2)
    value = _QUARTER[min(step, TURN // 2 - step)]
    return -value if half else value


def corners(polar: Polar, radius: int, turned: int) -> Vertices:
    """The vertices of an outline given in polar coordinates, in subpixels, about the origin: (V, 2), x and y.

    Args:
        polar: for each vertex its angle in steps and its distance in thousandths of the radius.
        radius: of the circle around it, in subpixels.
        turned: rotation in steps.
    """
    vertices = []
    for step, reach in polar:
        distance, angle = radius * reach, step + turned
        vertices.append((distance * sine(angle + TURN // 4), distance * sine(angle)))
    return (2 * np.array(vertices, dtype=np.int64) + 1000 * _ONE) // (2 * 1000 * _ONE)  # halves rounded up


def framed(vertices: Vertices) -> tuple[Vertices, Size]:
    """An outline moved by whole pixels into the smallest frame that holds it, and that frame's size in pixels."""
    moved = vertices - vertices.min(axis=0) // SUBPIXELS * SUBPIXELS
    width, height = -(-moved.max(axis=0) // SUBPIXELS)
    return moved, (int(height), int(width))


def polygon(vertices: Vertices, size: Size) -> Mask:
    """The pixels inside an outline: (H, W).

    The rule is that of pycocotools, so that the annotated polygon decodes to exactly the pixels that were drawn: each
    edge is walked in subpixels along its longer side; where it steps over the middle of a column of pixels, every
    pixel of the column whose middle lies below changes sides.

    Args:
        vertices: int64 (V, 2), x and y in subpixels, neighbours distinct, inside the frame.
        size: of the frame, in pixels.
    """
    changes = np.zeros((size[0] + 1, size[1]), dtype=np.int64)
    np.add.at(changes, tuple(_crossings(vertices)), 1)
    inside: Mask = changes.cumsum(axis=0)[:-1] % 2 == 1
    return inside


def is_clear_cut(vertices: Vertices) -> bool:
    """Whether an outline has the same pixels however halves are rounded on its edges.

    COCO's tools walk the edges in floats, where a half may come out a little below itself, on one machine and not on
    another.
    """
    return np.array_equal(_crossings(vertices), _crossings(vertices, halves_up=False))


def _crossings(vertices: Vertices, *, halves_up: bool = True) -> Vertices:
    """Where the edges step over the middle of a column: the row in which the inside changes, and the column, (2, N)."""
    middle = SUBPIXELS // 2
    moves = np.roll(vertices, -1, axis=0) - vertices
    steps = np.abs(moves).max(axis=1)
    edge = np.repeat(np.arange(len(vertices)), steps)  # the edge of each step of the whole walk
    walked = np.arange(len(edge)) - (steps.cumsum() - steps)[edge]
    rounding = steps - (not halves_up)
    points = vertices[edge] + (2 * walked[:, None] * moves[edge] + rounding[edge, None]) // (2 * steps[edge, None])
    after = np.roll(points, -1, axis=0)  # the last step of an edge ends where the next edge begins
    upper_left = np.minimum(points, after)
    over = (points[:, 0] != after[:, 0]) & (upper_left[:, 0] % SUBPIXELS == middle)
    columns, tops = upper_left[over].T
    return np.stack([(tops + middle) // SUBPIXELS, columns // SUBPIXELS])


def disc(diameter: int, hole: int = 0) -> Mask:
    """The pixels whose middles lie in a disc, which may have a round hole: (diameter, diameter).

    Args:
        diameter: in pixels.
        hole: diameter of the hole, in pixels.
    """
    offsets = 2 * np.arange(diameter) + 1 - diameter  # from the centre, in half pixels
    distances = offsets[:, None] ** 2 + offsets**2
    return (distances <= diameter**2) & (distances >= hole**2)


def rim(mask: Mask) -> Mask:
    """The pixels of a mask with a side on its outside: (H, W)."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def pattern(kind: Pattern, period: int, size: Size) -> Mask:
    """Where a two-coloured pattern has its second colour: (H, W).

    Args:
        kind: what repeats.
        period: width of a stripe or a field in pixels; dots repeat after twice that.
        size: of the frame, in pixels.
    """
    y, x = np.ogrid[: size[0], : size[1]]
    match kind:
        case "plain":
            second = np.zeros((1, 1), dtype=bool)
        case "columns":
            second = x // period % 2 == 1
        case "rows":
            second = y // period % 2 == 1
        case "diagonals":
            second = (x + y) // period % 2 == 1
        case "checks":
            second = (x // period + y // period) % 2 == 1
        case "dots":
            across, down = x % (2 * period) - period, y % (2 * period) - period
            second = 9 * (across**2 + down**2) <= 4 * period**2
    return np.broadcast_to(second, size)


def radius_for(side: int, coverage: int) -> int:
    """The radius, in subpixels, at which an outline covers the area of a square.

    Args:
        side: of the square, in pixels.
        coverage: area of the outline in thousandths of its radius squared.
    """
    return isqrt(1000 * (SUBPIXELS * side) ** 2 // coverage)
