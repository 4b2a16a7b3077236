"""Scenes of the `shapes` data set: what is in an image, where, and how it is annotated.

A scene is painted back to front, large before small. What a later figure covers is taken out of the mask of the
earlier one, as annotators see it; a figure that would hide another to more than its share is moved elsewhere, so that
nothing is in an image that is not annotated. Legend for shapes: H height, W width in pixels, F figures, V
vertices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isqrt
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from zoo.data.rle import run_lengths
from zoo.data.shapes.drawing import (
    SUBPIXELS,
    TURN,
    Mask,
    Pattern,
    Polar,
    Vertices,
    corners,
    disc,
    framed,
    is_clear_cut,
    pattern,
    polygon,
    radius_for,
    rim,
)
from zoo.types import Size

Pixels = npt.NDArray[np.uint8]
Colour = npt.NDArray[np.int64]
T = TypeVar("T")

CLASSES = ("disc", "square", "triangle", "star", "ring", "cross")
"""In the order of their category ids, which start at 1."""

_STAR = [(12 * i, 1000 if i % 2 == 0 else 450) for i in range(10)]
_CROSS = [(30 * arm + step, reach) for arm in range(4) for step, reach in ((-6, 1000), (6, 1000), (15, 447))]
_OUTLINES: dict[str, tuple[Polar, int]] = {  # and their area in thousandths of the radius squared
    "square": ([(30 * i, 1000) for i in range(4)], 2000),
    "triangle": ([(40 * i, 1000) for i in range(3)], 1299),
    "star": (_STAR, 1322),
    "cross": (_CROSS, 2000),
}

# Side of the square of the same area, in pixels: one range inside each of COCO's three (below 32, to 96, above).
_SIDES = {"small": (11, 30), "medium": (34, 88), "large": (100, 112)}
_SHARES = (("small", 45), ("medium", 38), ("large", 17))  # per cent
_FIGURES = (3, 9)
_SHORT_SIDE, _LONG_SIDE = (144, 176), 208
_TRIES = 15

_CROWDED = 15  # per cent of the images
_CROWD_EXTENT, _CROWD_MEMBERS, _CROWD_SIDES = (44, 76), (14, 28), (5, 8)

MOST_HIDDEN = 70
"""Per cent of a figure that others and the border of the image may hide."""

_PALETTE = np.array(
    [
        *((220, 50, 47), (240, 130, 30), (245, 205, 50), (120, 200, 60), (30, 140, 70), (40, 190, 190)),
        *((40, 110, 220), (110, 70, 200), (205, 60, 170), (250, 170, 190), (245, 245, 240), (45, 40, 45)),
    ],
    dtype=np.int64,
)
_CONTRAST = 170  # least sum of the three channels' differences between a figure and the background
_PATTERNS: tuple[Pattern, ...] = ("plain", "plain", "columns", "rows", "diagonals", "checks", "dots")


class Dice:
    """Random whole numbers that are the same for the same key, on every machine and with every numpy.

    numpy promises the stream of the legacy `RandomState` for ever (NEP 19), which it does not for `Generator`. The
    type of the numbers is named at each draw, because the default one depends on the system.
    """

    def __init__(self, *key: int) -> None:
        self._state = np.random.RandomState(key)  # hashed by the Mersenne twister's own init_by_array

    def between(self, low: int, high: int) -> int:
        """A number from `low` to `high`, both included."""
        return int(self._state.randint(low, high + 1, dtype=np.int64))

    def chance(self, percent: int) -> bool:
        """True in so many of a hundred throws."""
        return self.between(1, 100) <= percent

    def choice(self, options: Sequence[T]) -> T:
        """One of the options, all equally likely."""
        return options[self.between(0, len(options) - 1)]

    def noise(self, size: tuple[int, ...], reach: int) -> npt.NDArray[np.int64]:
        """Numbers from `-reach` to `reach`, both included, in an array of this size."""
        return self._state.randint(-reach, reach + 1, size=size, dtype=np.int64)


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Figure:
    """Something to paint, in a frame of its own.

    Attributes:
        category: id of its class.
        mask: bool (H, W).
        pixels: uint8 (H, W, 3), RGB; only those under the mask count.
        outline: int64 (V, 2), x and y in subpixels, where a polygon describes the mask.
        is_crowd: many of one class, annotated as one region.
    """

    category: int
    mask: Mask
    pixels: Pixels
    outline: Vertices | None = None
    is_crowd: bool = False


@dataclass(eq=False, slots=True)
class Scene:
    """An image in the making.

    Attributes:
        pixels: uint8 (H, W, 3), RGB.
        owners: uint8 (H, W), which figure a pixel shows: 0 is the background, `i + 1` is `figures[i]`.
        figures: back to front, each with the x and y of its frame in pixels.
        areas: int64 (F,), pixels of each figure, seen or not.
        visible: int64 (F,), pixels of each that are in sight.
    """

    pixels: Pixels
    owners: npt.NDArray[np.uint8] = field(init=False)
    figures: list[tuple[Figure, int, int]] = field(init=False, default_factory=list)
    areas: npt.NDArray[np.int64] = field(init=False, default_factory=lambda: np.zeros(0, dtype=np.int64))
    visible: npt.NDArray[np.int64] = field(init=False, default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __post_init__(self) -> None:
        self.owners = np.zeros(self.pixels.shape[:2], dtype=np.uint8)

    def place(self, figure: Figure, x: int, y: int, most_hidden: int) -> bool:
        """Paint a figure over what is there, unless that hides too much of any; says whether it was painted.

        Args:
            x: of the left end of its frame, in pixels; it may stick out of the image, as `y` may.
            y: of the upper end.
            most_hidden: per cent of a figure, this one too, that may be out of sight afterwards.
        """
        height, width = self.owners.shape
        inside = (slice(max(-y, 0), max(height - y, 0)), slice(max(-x, 0), max(width - x, 0)))
        here = (slice(max(y, 0), max(y + figure.mask.shape[0], 0)), slice(max(x, 0), max(x + figure.mask.shape[1], 0)))
        mask = figure.mask[inside]
        covered = np.bincount((self.owners[here] * mask).ravel(), minlength=len(self.figures) + 1)[1:]
        areas = np.append(self.areas, np.count_nonzero(figure.mask))
        visible = np.append(self.visible - covered, np.count_nonzero(mask))
        touched = np.append(covered > 0, True)
        if np.any(touched & (100 * visible < (100 - most_hidden) * areas)):
            return False
        self.areas, self.visible = areas, visible
        np.copyto(self.owners[here], len(self.figures) + 1, where=mask)
        np.copyto(self.pixels[here], figure.pixels[inside], where=mask[:, :, None])
        self.figures.append((figure, x, y))
        return True

    def annotations(self) -> list[dict[str, Any]]:
        """What is to be found in the image, in COCO's terms, without ids.

        Boxes and areas are those of the visible mask. A whole figure with corners is annotated by its polygon, any
        other by the run lengths of its mask.
        """
        return [
            {
                "category_id": figure.category,
                "bbox": box(self.owners == number),
                "area": int(self.visible[number - 1]),
                "iscrowd": int(figure.is_crowd),
                "segmentation": self._polygons(number)
                or {"size": list(self.owners.shape), "counts": run_lengths(self.owners == number)},
            }
            for number, (figure, _, _) in enumerate(self.figures, start=1)
        ]

    def _polygons(self, number: int) -> list[list[float]] | None:
        """The outline of a figure in pixels, x and y in turn, where that decodes to exactly its visible mask."""
        figure, x, y = self.figures[number - 1]
        if figure.outline is None or self.visible[number - 1] < self.areas[number - 1]:
            return None
        height, width = self.owners.shape
        vertices = figure.outline + SUBPIXELS * np.array([x, y])
        # An empty edge of the frame may stick out of the image, and COCO's tools misplace what is left of column 0.
        inside = vertices.min() >= 0 and np.all(vertices <= SUBPIXELS * np.array([width, height]))
        if not inside or not is_clear_cut(figure.outline):
            return None
        return [[value / SUBPIXELS for value in vertices.ravel().tolist()]]


def box(mask: Mask) -> list[int]:
    """The smallest box around a mask with at least one pixel: x, y, width, height in pixels."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]


def draw_scene(*key: int) -> Scene:
    """The scene of a key: the same pixels and annotations whenever and wherever it is drawn."""
    dice = Dice(*key)
    short = dice.between(*_SHORT_SIDE)
    size = (short, dice.between(short, _LONG_SIDE))
    scene = Scene(_background(dice, size if dice.chance(60) else size[::-1]))
    ground = scene.pixels.sum(axis=(0, 1), dtype=np.int64) // (size[0] * size[1])
    if dice.chance(_CROWDED):
        _place_somewhere(dice, scene, _crowd(dice, ground))
    sides = sorted((_side(dice) for _ in range(dice.between(*_FIGURES))), reverse=True)
    for side in sides:
        _place_somewhere(dice, scene, _figure(dice, dice.between(1, len(CLASSES)), side, ground))
    return scene


def _side(dice: Dice) -> int:
    """The size of a figure: the side, in pixels, of the square that covers as much."""
    name = dice.choice([name for name, share in _SHARES for _ in range(share)])
    return dice.between(*_SIDES[name])


def _place_somewhere(dice: Dice, scene: Scene, figure: Figure) -> None:
    """Paint a figure where it hides no more than it may; leave it out where no such place is found."""
    most_hidden = dice.choice((0, 0, 30, MOST_HIDDEN))
    (height, width), (tall, wide) = scene.owners.shape, figure.mask.shape
    for _ in range(_TRIES):
        x = _start(dice, wide, width, most_hidden)
        if scene.place(figure, x, _start(dice, tall, height, most_hidden), most_hidden):
            return


def _start(dice: Dice, part: int, whole: int, most_hidden: int) -> int:
    """Where a frame begins along a side of the image, in pixels; it may stick out where some of it may be hidden."""
    room, overhang = whole - part, part * most_hidden // 300
    return dice.between(min(0, room) - overhang, max(0, room) + overhang)


def _background(dice: Dice, size: Size) -> Pixels:
    """A dull gradient from corner to corner, mottled in fields of 16 pixels, with noise: uint8 (H, W, 3)."""
    height, width = size
    level = dice.between(70, 185)
    start, end = (level + dice.noise((3, 1, 1), 25) for _ in range(2))
    y, x = np.ogrid[:height, :width]
    along = 256 * (x * height + y * width) // (2 * height * width)  # from 0 in one corner to 256 in the other
    gradient = start + ((end - start) * along >> 8)  # (3, H, W)
    fields = dice.noise((height // 16 + 1, width // 16 + 1), 9).repeat(16, axis=0).repeat(16, axis=1)
    return _pixels(gradient + (fields[:height, :width] + dice.noise(size, 7)))


def _colour(dice: Dice, ground: Colour) -> Colour:
    """A colour that stands out from the background."""
    clear = _PALETTE[np.abs(_PALETTE - ground).sum(axis=1) >= _CONTRAST]
    colour: Colour = clear[dice.between(0, len(clear) - 1)] + dice.noise((3,), 12)
    return colour.clip(0, 255)


def _painted(dice: Dice, mask: Mask, side: int, ground: Colour) -> Pixels:
    """A coat of paint for a mask: one colour in two tones as the pattern has it, noise, a dark rim."""
    colour = _colour(dice, ground)
    towards = 255 if colour.sum() < 330 else 0  # the second tone: dark colours lighten, bright ones darken
    second = (3 * colour + 2 * towards) // 5
    kind = dice.choice(_PATTERNS) if side >= 16 else "plain"  # below that a pattern eats up the shape
    spots = pattern(kind, max(3, side // dice.between(5, 9)), mask.shape)
    planes = np.where(spots, second[:, None, None], colour[:, None, None]) + dice.noise(mask.shape, 6)
    planes[:, rim(mask)] = colour[:, None] // 3
    return _pixels(planes)


def _pixels(planes: npt.NDArray[np.int64]) -> Pixels:
    """Whole numbers (3, H, W) as uint8 (H, W, 3)."""
    return np.ascontiguousarray(planes.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def _figure(dice: Dice, category: int, side: int, ground: Colour) -> Figure:
    """A shape of a class with about the area of a square of this side, in pixels."""
    name = CLASSES[category - 1]
    outline = None
    if name in _OUTLINES:
        polar, coverage = _OUTLINES[name]
        outline, size = framed(corners(polar, radius_for(side, coverage), dice.between(0, TURN - 1)))
        mask = polygon(outline, size)
    elif name == "disc":
        mask = disc(isqrt(side**2 * 14 // 11))  # pi as 22/7
    else:
        diameter = isqrt(side**2 * 56 // 33)  # three quarters of a disc
        mask = disc(diameter, hole=diameter // 2)
    return Figure(category=category, mask=mask, pixels=_painted(dice, mask, side, ground), outline=outline)


def _crowd(dice: Dice, ground: Colour) -> Figure:
    """A clutter of many tiny shapes of one class."""
    category = dice.between(1, len(CLASSES))
    height, width = dice.between(*_CROWD_EXTENT), dice.between(*_CROWD_EXTENT)
    clutter = Scene(np.zeros((height, width, 3), dtype=np.uint8))
    for _ in range(dice.between(*_CROWD_MEMBERS)):
        member = _figure(dice, category, dice.between(*_CROWD_SIDES), ground)
        tall, wide = member.mask.shape
        clutter.place(member, dice.between(0, width - wide), dice.between(0, height - tall), MOST_HIDDEN)
    return Figure(category=category, mask=clutter.owners > 0, pixels=clutter.pixels, is_crowd=True)
