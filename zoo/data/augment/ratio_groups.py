"""Images of one group in one shape: which share a group, what is cut from one, and what canvas it lies on.

Source of the rules: the training loader of faster-rcnn.pytorch. A ratio is width / height. That of a group is kept in
float32, and so are its products with sides, before they are rounded to whole pixels.
Legend: N entries (images, and images flipped), B entries of a group, G objects of one image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from zoo.types import Size

Floats: TypeAlias = npt.NDArray[np.float32]
Ints: TypeAlias = npt.NDArray[np.int64]


def fixed_groups(ratios: npt.NDArray[np.float64], size: int) -> Ints:
    """Entries of neighbouring ratios in groups, (N // B, B), narrowest first; what fills no group is left out.

    Of fewer entries than one group has, each comes several times.

    Args:
        ratios: ratio of each entry, (N,). Of equal ones the first comes first.
        size: B.
    """
    order = np.argsort(ratios, kind="stable")
    if len(order) < size:
        order = order[np.sort(np.arange(size) % len(order))]
    return order[: len(order) // size * size].reshape(-1, size)


def ratio_of_group(ratios: Sequence[float] | npt.NDArray[np.float64]) -> np.float32:
    """The ratio of a group: the narrowest of entries that are all portrait, the widest of all-landscape ones, else 1.

    Args:
        ratios: of its entries, ascending.
    """
    shared = ratios[0] if ratios[-1] < 1 else ratios[-1] if ratios[0] > 1 else 1.0
    return np.float32(shared)


@dataclass(frozen=True, slots=True)
class Window:
    """The part of an image that is kept along one of its axes.

    Attributes:
        axis: 0 cuts the height, 1 the width.
        length: number of pixels that are kept.
        low: first pixel that the part may begin with.
        high: the one behind the last such pixel; `low` where nothing is drawn, and the part begins there.
    """

    axis: int
    length: int
    low: int
    high: int

    def draw(self, generator: np.random.Generator) -> int:
        """The pixel that the part begins with."""
        return self.low if self.low == self.high else int(generator.integers(self.low, self.high))

    def crop_boxes(self, boxes: Floats, start: int) -> Floats:
        """Boxes (G, 4) in pixels of the part that begins at a pixel; they end at its last one."""
        moved = boxes.copy()
        sides = [1 - self.axis, 3 - self.axis]
        moved[:, sides] = np.clip(moved[:, sides] - np.float32(start), 0, self.length - 1)
        return moved


def crop_window(size: Size, ratio: np.float32, boxes: Floats) -> Window:
    """What is kept of an image that is too long for its group: all boxes, or where they span more, a part of them.

    Args:
        size: (height, width) of the resized image.
        ratio: of the group.
        boxes: float32 (G, 4), in resized pixels; at least one.
    """
    height, width = size
    axis = 0 if ratio < 1 else 1
    longest = np.floor(np.float32(width) / ratio) if axis == 0 else np.ceil(np.float32(height) * ratio)
    length = min(int(longest), size[axis])
    first, last = int(boxes[:, 1 - axis].min()), int(boxes[:, 3 - axis].max())
    span = last - first + 1
    if first == 0:
        return Window(axis, length, 0, 0)
    if span < length:
        return Window(axis, length, max(last - length, 0), min(first, size[axis] - length))
    return Window(axis, length, first, first + (span - length) // 2)


def canvas_of(size: Size, ratio: np.float32) -> Size:
    """The (height, width) that an image of a group is padded to, or with a ratio of 1 cut to.

    Args:
        size: (height, width) of the image, resized and cropped.
        ratio: of the group.
    """
    height, width = size
    if ratio < 1:
        return int(np.ceil(np.float32(width) / ratio)), width
    if ratio > 1:
        return height, int(np.ceil(np.float32(height) * ratio))
    return min(size), min(size)
