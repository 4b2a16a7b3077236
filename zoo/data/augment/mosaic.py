"""Augmentations that put several images together: mosaic, copy-paste, mixup, as YOLOv8 is trained with them.

Legend: G objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from zoo.data.augment.labeled_image import GREY, Floats, LabeledImage, hflip_boxes, merge, paste
from zoo.data.augment.operations import Operation, apply
from zoo.data.augment.source import LabeledImages

MAX_IOA = 0.3
"""Share of each object (intersection over its area) that a pasted one must cover less than, box by box."""

MIXUP_BETA = 32.0
"""Both parameters of the Beta distribution of the share of each image: nearly always about half."""


@dataclass(frozen=True, slots=True)
class Mosaic:
    """Puts an image and three others, drawn from all, around a point of a square of twice the side.

    Attributes:
        images: images of the training set.
        fit: what brings an image of it to a size of at most `side`.
        side: half of the square's side, in pixels.
    """

    images: LabeledImages
    fit: Operation
    side: int

    def __call__(self, image: LabeledImage, generator: np.random.Generator) -> LabeledImage:
        """The mosaic; the image is its top left part."""
        partners = generator.integers(len(self.images), size=3).tolist()
        x, y = generator.uniform(self.side / 2, self.side * 3 / 2, 2).astype(int).tolist()
        others = [self.fit(self.images.load(i), generator) for i in partners]
        return mosaic([image, *others], self.side, (x, y))


@dataclass(frozen=True, slots=True)
class CopyPaste:
    """Pastes some objects once more; see `copy_paste`.

    Attributes:
        share: share of the objects that have room.
    """

    share: float

    def __call__(self, image: LabeledImage, generator: np.random.Generator) -> LabeledImage:
        """The image with the pasted objects."""
        return copy_paste(image, self.share, generator)


@dataclass(frozen=True, slots=True)
class MixUp:
    """Sometimes shows a second image, drawn from all, through the first one; see `mixup`.

    Attributes:
        images: images of the training set.
        operations: what is done to the second image before.
        probability: probability of a second image.
    """

    images: LabeledImages
    operations: tuple[Operation, ...]
    probability: float

    def __call__(self, image: LabeledImage, generator: np.random.Generator) -> LabeledImage:
        """Both images in one, or the first as it is."""
        if generator.random() >= self.probability:
            return image
        second = self.images.load(int(generator.integers(len(self.images))))
        other = apply(self.operations, second, generator)
        return mixup(image, other, generator.beta(MIXUP_BETA, MIXUP_BETA))


def mosaic(images: Sequence[LabeledImage], side: int, centre: tuple[int, int]) -> LabeledImage:
    """Four images about a point (Bochkovskiy et al., "YOLOv4", 2020): top left, top right, bottom left, bottom right.

    Args:
        images: four, none larger than `side`, with outlines.
        side: half of the canvas's side.
        centre: (x, y) in the canvas, at which they meet.

    Returns:
        A square of twice the side, without the objects that are cut off entirely.
    """
    canvas = np.full((2 * side, 2 * side, 3), GREY, dtype=np.uint8)
    x, y = centre
    pasted = []
    for number, image in enumerate(images):
        height, width = image.size
        row, column = y - height if number < 2 else y, x - width if number % 2 == 0 else x
        pasted.append(paste(canvas, image, (row, column)))
    whole = merge(canvas, pasted)
    return whole.select(np.flatnonzero(whole.has_area()))


def copy_paste(image: LabeledImage, share: float, generator: np.random.Generator) -> LabeledImage:
    """Some objects once more, flipped left to right over the whole image (Ghiasi et al., "Simple Copy-Paste", 2021).

    Args:
        image: the image, with outlines.
        share: share of the objects that have room there, which are those that cover less than `MAX_IOA` of any box.
        generator: draws which.
    """
    shares = ioa(hflip_boxes(image.boxes, image.size[1]), image.boxes)
    roomy = np.flatnonzero((shares < MAX_IOA).all(axis=1))
    taken = generator.permutation(roomy)[: round(share * len(roomy))]
    if not len(taken):
        return image
    copies = image.select(taken).hflip()
    stencil = np.zeros(image.size, dtype=np.uint8)
    for outline in copies.outlines.astype(np.int32):
        cv2.fillPoly(stencil, [outline], 1)
    pixels = image.pixels.copy()
    cv2.copyTo(copies.pixels, stencil, pixels)
    return merge(pixels, (image, copies))


def mixup(image: LabeledImage, other: LabeledImage, share: float) -> LabeledImage:
    """Two images of one size, one seen through the other (Zhang et al., 2018), with the objects of both.

    Args:
        image: seen by `share`.
        other: seen by the rest.
        share: number in [0, 1].
    """
    pixels = (image.pixels * share + other.pixels * (1 - share)).astype(np.uint8)
    return merge(pixels, (image, other))


def ioa(boxes: Floats, others: Floats) -> Floats:
    """Intersection over the area of the other: which share of each other box (G2, 4) lies in each box (G1, 4).

    Returns:
        float32 (G1, G2).
    """
    top_left = np.maximum(boxes[:, None, :2], others[None, :, :2])
    bottom_right = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    intersection = np.clip(bottom_right - top_left, 0, None).prod(axis=2)
    area = (others[:, 2:] - others[:, :2]).prod(axis=1)
    shares: npt.NDArray[np.float32] = intersection / np.maximum(area, np.float32(1e-7))
    return shares
