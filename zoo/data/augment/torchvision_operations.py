"""The operations of torchvision's reference recipes on one training image, and on all that is known of its objects.

What they compute is torchvision's to the last bit, with Pillow's arithmetic on bytes, as its recipes have it. Numbers
are drawn in float32, in the order of `torchvision.transforms.v2`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from torchvision.transforms import functional as F  # noqa: N812 - the field's name for it

from zoo.data.augment.labeled_image import Floats, LabeledImage
from zoo.data.augment.masks import AnnotatedMasks, Polygons, resize_bitmaps_torch
from zoo.data.augment.operations import Operation, RandomHFlip
from zoo.data.augment.settings import (
    FixedSizeCrop,
    HFlip,
    IoUCrop,
    PhotometricDistort,
    ScaleJitter,
    ShortestSize,
    ViewTransform,
    ZoomOut,
)
from zoo.data.preprocess import ResizeError
from zoo.data.resamplers import PillowBilinear
from zoo.data.size_rules import Resize
from zoo.types import Size

_PILLOW = PillowBilinear()


def operation(settings: ViewTransform) -> Operation:
    """The operation of a block of a schedule's `transforms`."""
    return _OPERATIONS[type(settings)](settings)


def scaled(image: LabeledImage, size: Size) -> LabeledImage:
    """An image resized by Pillow, bilinear and with antialias, and its objects by the ratios of the rounded sides.

    Raises:
        ResizeError: a side of the result has no pixel.
    """
    if min(size) < 1:
        raise ResizeError("a side without a pixel")
    x, y = size[1] / image.size[1], size[0] / image.size[0]
    factors = np.array((x, y), dtype=np.float32)
    return replace(
        image,
        pixels=_PILLOW(image.pixels, Resize(size, (x, y))),
        boxes=image.boxes * np.tile(factors, 2),
        outlines=image.outlines * factors,
        masks=resized_masks(image.masks, size),
        keypoints=None if image.keypoints is None else image.keypoints * np.append(factors, np.float32(1)),
        scale=(image.scale[0] * x, image.scale[1] * y),
    )


def resized_masks(masks: AnnotatedMasks | Polygons | None, size: Size) -> AnnotatedMasks | Polygons | None:
    """Masks at another size, bitmaps by torch's nearest neighbour."""
    return (
        masks.resize(size, resize_bitmaps_torch) if isinstance(masks, AnnotatedMasks) else masks and masks.resize(size)
    )


def padded(image: LabeledImage, size: Size, corner: tuple[int, int], fill: tuple[int, int, int]) -> LabeledImage:
    """An image somewhere on a canvas.

    Args:
        image: the image.
        size: of the canvas.
        corner: (row, column) of the image's first pixel.
        fill: level of the canvas in red, green and blue.
    """
    (height, width), (top, left) = image.size, corner
    pixels = np.empty((*size, 3), dtype=np.uint8)
    pixels[...] = fill[::-1]
    pixels[top : top + height, left : left + width] = image.pixels
    shift = np.array((left, top), dtype=np.float32)
    keypoints = image.keypoints
    if keypoints is not None:  # those that are not labelled stay at (0, 0)
        keypoints = np.where(keypoints[..., 2:] > 0, keypoints + np.append(shift, np.float32(0)), np.float32(0))
    return replace(
        image,
        pixels=pixels,
        boxes=image.boxes + np.tile(shift, 2),
        outlines=image.outlines + shift,
        masks=image.masks and image.masks.pad(size, corner),
        keypoints=keypoints,
    )


@dataclass(frozen=True, slots=True)
class RandomPhotometricDistort:
    """Changes the colours of an image; see `PhotometricDistort`.

    Attributes:
        settings: ranges and probability.
    """

    settings: PhotometricDistort

    def __call__(self, image: LabeledImage, generator: np.random.Generator) -> LabeledImage:
        """The image in other colours."""
        ranges = (self.settings.brightness, self.settings.contrast, self.settings.saturation, self.settings.hue)
        chance = self.settings.probability
        drawn = [float(generator.uniform(*pair)) if generator.random() < chance else None for pair in ranges]
        brightness, contrast, saturation, hue = drawn
        contrast_first = generator.random() < 0.5
        order = generator.permutation(3) if generator.random() < chance else None
        steps: list[tuple[Callable[..., Any], float | None]] = [
            (F.adjust_brightness, brightness),
            (F.adjust_contrast, contrast if contrast_first else None),
            (F.adjust_saturation, saturation),
            (F.adjust_hue, hue),
            (F.adjust_contrast, None if contrast_first else contrast),
        ]
        picture = PillowImage.fromarray(np.ascontiguousarray(image.pixels[:, :, ::-1]))
        for adjust, factor in steps:
            if factor is not None:
                picture = adjust(picture, factor)
        pixels = np.asarray(picture)
        if order is not None:
            pixels = pixels[:, :, order]
        return replace(image, pixels=np.ascontiguousarray(pixels[:, :, ::-1]))


@dataclass(frozen=True, slots=True)
class RandomZoomOut:
    """Puts an image somewhere on a larger canvas; see `ZoomOut`.

    Attributes:
        settings: canvas and probability.
    """

    settings: ZoomOut

    def __call__(self, image: LabeledImage, generator: np.random.Generator) -> LabeledImage:
        """The canvas, or the image as it is."""
        if generator.random() >= self.settings.probability:
            return image
        height, width = image.size
        ratio = _within(self.settings.sides, generator.random(dtype=np.float32))
        canvas = int(height * ratio), int(width * ratio)
        x, y = generator.random(2, dtype=np.float32)
        corner = int(np.float32(canvas[0] - height) * y), int(np.float32(canvas[1] - width) * x)
        return padded(image, canvas, corner, self.settings.fill)


@dataclass(frozen=True, slots=True)
class RandomIoUCrop:
    """Cuts out a part of an image that overlaps an object by at least so much; see `IoUCrop`.

    Attributes:
        settings: overlaps, sizes and trials.
    """

    settings: IoUCrop

    def __call__(self, image: LabeledImage, generator: np.random.Generator) -> LabeledImage:
        """The part with the objects whose middle it shows, or the image as it is: always where it shows no object."""
        while len(image.boxes):
            overlap = self.settings.overlaps[int(generator.integers(len(self.settings.overlaps)))]
            if overlap >= 1:
                break
            for _ in range(self.settings.trials):
                window = self._draw(image.size, generator)
                if window is None:
                    continue
                shown = _middles_inside(image.boxes, window)
                if shown.any() and _overlaps(image.boxes[shown], window).max() >= np.float32(overlap):
                    left, top, right, bottom = window
                    return image.select(shown).crop((top, left, bottom - top, right - left))
        return image

    def _draw(self, size: Size, generator: np.random.Generator) -> tuple[int, int, int, int] | None:
        """Left, top, right and bottom of a part of an image of a size; None where it is too narrow, or empty."""
        height, width = size
        scales = _within(self.settings.scale, generator.random(2, dtype=np.float32))
        new_width, new_height = int(np.float32(width) * scales[0]), int(np.float32(height) * scales[1])
        low, high = self.settings.ratio
        if not new_height or not low <= new_width / new_height <= high:
            return None
        x, y = generator.random(2, dtype=np.float32)
        left, top = int(np.float32(width - new_width) * x), int(np.float32(height - new_height) * y)
        return (left, top, left + new_width, top + new_height) if new_width else None


@dataclass(frozen=True, slots=True)
class RandomScaleJitter:
    """Resizes an image by a random factor; see `ScaleJitter`.

    Attributes:
        settings: side and factors.
    """

    settings: ScaleJitter

    def __call__(self, image: LabeledImage, generator: np.random.Generator) -> LabeledImage:
        """The resized image."""
        height, width = image.size
        factor = _within(self.settings.scale, generator.random(dtype=np.float32))
        ratio = np.float32(min(self.settings.side / height, self.settings.side / width)) * factor
        return scaled(image, (int(np.float32(height) * ratio), int(np.float32(width) * ratio)))


@dataclass(frozen=True, slots=True)
class RandomFixedSizeCrop:
    """Cuts or pads an image to one size; see `FixedSizeCrop`.

    Attributes:
        settings: size and fill.
    """

    settings: FixedSizeCrop

    def __call__(self, image: LabeledImage, generator: np.random.Generator) -> LabeledImage:
        """The part, padded, with the objects of which something is left."""
        height, width = (min(pair) for pair in zip(image.size, self.settings.size, strict=True))
        if (height, width) != image.size:
            share = generator.random(dtype=np.float32)  # one for both: parts lie along the diagonal
            top, left = (
                int(np.float32(old - new) * share) for old, new in zip(image.size, (height, width), strict=True)
            )
            image = image.crop((top, left, height, width))
            image = image.select(image.has_area())
        if image.size == self.settings.size:
            return image
        return padded(image, self.settings.size, (0, 0), self.settings.fill)


@dataclass(frozen=True, slots=True)
class RandomShortestSize:
    """Resizes an image to a random length of its shorter side; see `ShortestSize`.

    Attributes:
        settings: lengths.
    """

    settings: ShortestSize

    def __call__(self, image: LabeledImage, generator: np.random.Generator) -> LabeledImage:
        """The resized image."""
        height, width = image.size
        short = self.settings.short[int(generator.integers(len(self.settings.short)))]
        ratio = min(short / min(height, width), self.settings.long / max(height, width))
        return scaled(image, (int(height * ratio), int(width * ratio)))


_OPERATIONS: dict[type, Callable[[Any], Operation]] = {
    HFlip: lambda settings: RandomHFlip(settings.probability),
    PhotometricDistort: RandomPhotometricDistort,
    ZoomOut: RandomZoomOut,
    IoUCrop: RandomIoUCrop,
    ScaleJitter: RandomScaleJitter,
    FixedSizeCrop: RandomFixedSizeCrop,
    ShortestSize: RandomShortestSize,
}


def _within(ends: tuple[float, float], share: Any) -> Any:
    """What lies so far between two ends, in float32; shares of any shape."""
    low, high = ends
    return np.float32(low) + np.float32(high - low) * share


def _middles_inside(boxes: Floats, window: tuple[int, int, int, int]) -> npt.NDArray[np.bool_]:
    """Whether the middle of each box (G, 4) lies inside of a window, whose border does not belong to it."""
    left, top, right, bottom = window
    x, y = (np.float32(0.5) * (boxes[:, :2] + boxes[:, 2:])).T
    inside: npt.NDArray[np.bool_] = (left < x) & (x < right) & (top < y) & (y < bottom)
    return inside


def _overlaps(boxes: Floats, window: tuple[int, int, int, int]) -> Floats:
    """The IoU of each box (G, 4) with a window, in float32."""
    other = np.array(window, dtype=np.float32)
    shared = np.clip(np.minimum(boxes[:, 2:], other[2:]) - np.maximum(boxes[:, :2], other[:2]), 0, None).prod(axis=1)
    areas = [(sides[..., 2:] - sides[..., :2]).prod(axis=-1) for sides in (boxes, other)]
    overlaps: Floats = shared / (areas[0] + areas[1] - shared)
    return overlaps
