"""Random views of a training image: resize, crop, flip, in mmdetection's order.

A view is drawn first, as numbers, and then applied to pixels, boxes and masks alike. Sizes are (height,
width) in pixels; boxes are float32 (G, 4), xyxy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from zoo.data.mask_targets import Bitmaps, flip_masks, resize_masks
from zoo.data.size_rules import KeepRatio
from zoo.errors import UsageError
from zoo.types import Size

MODES = ("fixed", "choice", "range", "ratio")


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiScale:
    """The (long, short) sides that a training image has to fit into.

    Attributes:
        mode: "fixed": the one of `scales`; "choice": one of them; "range": each side any integer
            between those of the two; "ratio": the one of them times a factor.
        scales: (long, short) pairs, in pixels.
        ratio: lowest (inclusive) and highest (exclusive) factor of "ratio".
    """

    mode: str
    scales: tuple[tuple[int, int], ...]
    ratio: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        wanted = {"fixed": 1, "range": 2, "ratio": 1}.get(self.mode, len(self.scales))
        if self.mode not in MODES or not self.scales or len(self.scales) != wanted:
            message = f"schedule.multi_scale: mode {self.mode!r} with {len(self.scales)} scales"
            raise UsageError(message, next_step=f"give one of {', '.join(MODES)}: fixed and ratio take 1, range 2")

    @classmethod
    def from_mapping(cls, block: Mapping[str, Any]) -> MultiScale:
        """The rule from the `multi_scale` block of a schedule. Raises UsageError for a faulty one."""
        try:
            scales = tuple((int(long), int(short)) for long, short in block["scales"])
            low, high = block.get("ratio", (1.0, 1.0))
            return cls(mode=block["mode"], scales=scales, ratio=(float(low), float(high)))
        except (KeyError, TypeError, ValueError) as error:
            message = f"schedule.multi_scale: {block} is no resize rule ({error!r})"
            raise UsageError(
                message, next_step="give it as {mode: fixed, scales: [[LONG, SHORT]]}; see zoo/data/augment.py"
            ) from None

    def draw(self, generator: np.random.Generator) -> tuple[int, int]:
        """A (long, short) pair."""
        if self.mode == "range":
            sides = np.sort(np.array(self.scales), axis=0)  # (2, 2), lows first
            long, short = (int(generator.integers(low, high + 1)) for low, high in sides.T)
            return long, short
        if self.mode == "ratio":
            factor = self.ratio[0] + (self.ratio[1] - self.ratio[0]) * generator.random()
            long, short = (int(side * factor) for side in self.scales[0])
            return long, short
        return self.scales[generator.integers(len(self.scales))]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a training step sees of an image.

    Attributes:
        original: size of the image file.
        resized: size after the resize.
        crop: (top, left, height, width) of the window in the resized image.
        flipped: mirrored left to right, after the crop.
    """

    original: Size
    resized: Size
    crop: tuple[int, int, int, int]
    flipped: bool

    @property
    def scale(self) -> tuple[float, float]:
        """(x, y) factors from original to resized pixels."""
        return self.resized[1] / self.original[1], self.resized[0] / self.original[0]

    def pixels(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """An image (H, W, 3) as seen: (h, w, 3)."""
        if self.resized != self.original:
            height, width = self.resized
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
        top, left, height, width = self.crop
        window = image[top : top + height, left : left + width]
        return np.ascontiguousarray(window[:, ::-1] if self.flipped else window)

    def boxes(self, boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Boxes of the original image where they are in the view, clipped to it; some may be empty."""
        top, left, height, width = self.crop
        seen = boxes * np.array(self.scale * 2, dtype=np.float32)
        # First to the resized image, then to the window: a box that ends outside both is the same either way.
        seen = seen - np.array([left, top, left, top], dtype=np.float32)
        seen = np.clip(seen, 0, np.array([width, height, width, height], dtype=np.float32))
        if self.flipped:
            seen[:, [0, 2]] = np.float32(width) - seen[:, [2, 0]]
        return seen

    def masks(self, bitmaps: Bitmaps) -> Bitmaps:
        """Bitmaps (G, H, W) of the original image's size as seen: (G, h, w)."""
        if self.resized != self.original:
            bitmaps = resize_masks(bitmaps, self.resized)
        top, left, height, width = self.crop
        window = bitmaps[:, top : top + height, left : left + width]
        return flip_masks(window) if self.flipped else np.ascontiguousarray(window)


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How views are drawn.

    Attributes:
        multi_scale: the resize.
        crop: side of a square crop after it; None sees the whole image.
        flip: probability of mirroring.
    """

    multi_scale: MultiScale
    crop: int | None = None
    flip: float = 0.5

    def draw(self, size: Size, generator: np.random.Generator) -> View:
        """A view of an image of a size. What is drawn does not depend on the number of workers or processes."""
        resized = KeepRatio(*self.multi_scale.draw(generator))(size).size
        lengths = [side if self.crop is None else min(side, self.crop) for side in resized]
        top, left = (int(generator.integers(side - length + 1)) for side, length in zip(resized, lengths, strict=True))
        flipped = bool(generator.random() < self.flip)
        return View(original=size, resized=resized, crop=(top, left, lengths[0], lengths[1]), flipped=flipped)
