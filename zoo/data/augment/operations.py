"""What is done to one training image: resize, crop, flip, letterbox, colours.

An operation takes an image and the generator of its randomness; what it draws depends on nothing else, so that a
view is the same whatever the number of workers or processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from zoo.data.augment.labeled_image import LabeledImage, letterbox
from zoo.data.augment.settings import MultiScale
from zoo.data.size_rules import KeepRatio, Letterbox

HUES = 180
"""OpenCV's hues of bytes: two degrees each."""


class Operation(Protocol):
    """One step of an augmentation."""

    def __call__(self, image: LabeledImage, generator: np.random.Generator) -> LabeledImage:
        """The image after it."""
        ...


def apply(operations: Sequence[Operation], image: LabeledImage, generator: np.random.Generator) -> LabeledImage:
    """An image after operations, in their order."""
    for operation in operations:
        image = operation(image, generator)
    return image


def draw_scale(multi_scale: MultiScale, generator: np.random.Generator) -> tuple[int, int]:
    """A (long, short) pair of the scales."""
    scales = multi_scale.scales
    if multi_scale.mode == "range":
        sides = np.sort(np.array(scales), axis=0)  # (2, 2), lows first
        long, short = (int(generator.integers(low, high + 1)) for low, high in sides.T)
        return long, short
    if multi_scale.mode == "ratio":
        low, high = multi_scale.ratio
        factor = low + (high - low) * generator.random()
        long, short = (int(side * factor) for side in scales[0])
        return long, short
    return scales[generator.integers(len(scales))]


@dataclass(frozen=True, slots=True)
class RandomResize:
    """Resizes an image, ratio kept, to a random scale (mmdetection's `Resize`); boxes end with the image.

    Attributes:
        multi_scale: the scales.
    """

    multi_scale: MultiScale

    def __call__(self, image: LabeledImage, generator: np.random.Generator) -> LabeledImage:
        """The resized image."""
        return image.resize(KeepRatio(*draw_scale(self.multi_scale, generator))(image.size).size).clip()


@dataclass(frozen=True, slots=True)
class RandomCrop:
    """Crops a random square, or as much of it as the image has, with the objects of which something is left.

    Attributes:
        side: side of the square, in pixels.
    """

    side: int

    def __call__(self, image: LabeledImage, generator: np.random.Generator) -> LabeledImage:
        """The crop."""
        height, width = (min(side, self.side) for side in image.size)
        top = int(generator.integers(image.size[0] - height + 1))
        left = int(generator.integers(image.size[1] - width + 1))
        cropped = image.crop((top, left, height, width))
        return cropped.select(cropped.has_area())


@dataclass(frozen=True, slots=True)
class RandomHFlip:
    """Flips an image left to right.

    Attributes:
        probability: probability of a flip.
        inclusive: whether the far corner of a box is a pixel of it.
    """

    probability: float
    inclusive: bool = False

    def __call__(self, image: LabeledImage, generator: np.random.Generator) -> LabeledImage:
        """The image, flipped or as it is."""
        return image.hflip(inclusive=self.inclusive) if generator.random() < self.probability else image


@dataclass(frozen=True, slots=True)
class ResizeRelative:
    """Resizes an image whose labels are shares of its size, ratio kept, until its longer side fits (Ultralytics).

    Attributes:
        side: the longer side, in pixels; smaller images are enlarged.
    """

    side: int

    def __call__(self, image: LabeledImage, generator: np.random.Generator) -> LabeledImage:  # noqa: ARG002
        """The resized image, its labels in pixels."""
        return image.resize(Letterbox(self.side, stride=self.side, pad=0)(image.size).size, relative=True)


@dataclass(frozen=True, slots=True)
class LetterboxSquare:
    """Puts an image into the middle of a grey square.

    Attributes:
        side: side of the square, in pixels, none of the image's being longer.
    """

    side: int

    def __call__(self, image: LabeledImage, generator: np.random.Generator) -> LabeledImage:  # noqa: ARG002
        """The square."""
        return letterbox(image, self.side)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomHsv:
    """Multiplies hue, saturation and value of an image by random factors, uniform in 1 - range to 1 + range.

    Attributes:
        hue: range of the factor of hues.
        saturation: range of the factor of saturations.
        value: range of the factor of values.
    """

    hue: float
    saturation: float
    value: float

    def __call__(self, image: LabeledImage, generator: np.random.Generator) -> LabeledImage:
        """The image in other colours."""
        ranges = np.array((self.hue, self.saturation, self.value))
        factors = (1 + ranges * generator.uniform(-1, 1, 3)).tolist()
        return replace(image, pixels=adjust_hsv(image.pixels, factors))


def hsv_tables(factors: Sequence[float]) -> npt.NDArray[np.uint8]:
    """What becomes of each hue, saturation and value, (3, 256): hues go round, the others end at 255.

    Args:
        factors: of the three.
    """
    levels = np.arange(256)
    hue, saturation, value = (levels * factor for factor in factors)
    return np.stack((hue % HUES, np.clip(saturation, 0, 255), np.clip(value, 0, 255))).astype(np.uint8)


def adjust_hsv(pixels: npt.NDArray[np.uint8], factors: Sequence[float]) -> npt.NDArray[np.uint8]:
    """An image (H, W, 3), BGR, with its hue, saturation and value multiplied by factors."""
    tables = hsv_tables(factors)
    planes = cv2.split(cv2.cvtColor(pixels, cv2.COLOR_BGR2HSV))
    changed = cv2.merge([cv2.LUT(plane, table) for plane, table in zip(planes, tables, strict=True)])
    return cv2.cvtColor(changed, cv2.COLOR_HSV2BGR).astype(np.uint8, copy=False)
