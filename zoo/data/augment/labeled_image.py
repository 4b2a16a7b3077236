"""A training image on its way through the augmentations, with everything that is known of its objects.

Legend: G objects, P points of an outline, K keypoints. Sizes are (height, width) in pixels; boxes are xyxy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from zoo.data.augment.masks import AnnotatedMasks, Bitmaps, Polygons, Window
from zoo.data.augment.outlines import fill_outlines
from zoo.data.keypoints import flipped_order
from zoo.data.resamplers import Pixels
from zoo.data.size_rules import letterbox_offset
from zoo.types import Size

Floats: TypeAlias = npt.NDArray[np.float32]

GREY = 114
"""Level of the pixels that no image covers."""


@dataclass(slots=True)
class LabeledImage:
    """Pixels and the objects to be found in them. Operations leave it as it is and return another one.

    Attributes:
        pixels: (H, W, 3), BGR: uint8, or float32 once they are normalised.
        labels: int64 (G,), positions in the class list.
        boxes: float32 (G, 4), in pixels.
        outlines: float32 (G, P, 2), x and y in pixels, possibly beyond the image; P is 0 where none were read.
        masks: masks of the objects; None where their outlines are filled instead.
        keypoints: float32 (G, K, 3), x and y in pixels, and visibility: 0 not labelled, 1 hidden, 2 visible; None where
            none were read. One that is not labelled stays at (0, 0), as COCO has it.
        original_size: size of the image file; None where the pixels come from several files.
        scale: (x, y) factors from pixels of the file to these.
    """

    pixels: Pixels
    labels: npt.NDArray[np.int64]
    boxes: Floats
    outlines: Floats
    masks: AnnotatedMasks | Polygons | None = None
    keypoints: Floats | None = None
    original_size: Size | None = None
    scale: tuple[float, float] = (1.0, 1.0)

    @property
    def size(self) -> Size:
        """(height, width) of the pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def select(self, objects: npt.NDArray[np.bool_ | np.int64]) -> LabeledImage:
        """The same pixels with some of the objects.

        Args:
            objects: bool (G,), or positions.
        """
        return replace(
            self,
            labels=self.labels[objects],
            boxes=self.boxes[objects],
            outlines=self.outlines[objects],
            masks=self.masks and self.masks.select(objects),
            keypoints=None if self.keypoints is None else self.keypoints[objects],
        )

    def hflip(self, *, inclusive: bool = False) -> LabeledImage:
        """Flipped left to right; the left keypoints become the right ones.

        Args:
            inclusive: whether the far corner of a box is a pixel of it, so that x becomes width - 1 - x.
        """
        width = self.size[1]
        outlines = self.outlines.copy()
        outlines[:, :, 0] = np.float32(width) - outlines[:, :, 0]
        return replace(
            self,
            pixels=cv2.flip(self.pixels, 1),
            boxes=hflip_boxes(self.boxes, width - inclusive),
            outlines=outlines,
            masks=self.masks and self.masks.hflip(),
            keypoints=None if self.keypoints is None else hflip_keypoints(self.keypoints, width - inclusive),
        )

    def resize(self, size: Size, *, relative: bool = False) -> LabeledImage:
        """Resized by OpenCV, bilinear; boxes and outlines may afterwards reach beyond the pixels by rounding.

        Args:
            size: the new size; pixels stay as they are where it is the old one.
            relative: whether boxes and outlines are shares of the image's size, as label files of YOLO have them;
                afterwards they are in pixels.
        """
        (height, width), (new_height, new_width) = self.size, size
        scale = new_width / width, new_height / height
        factors = np.array((new_width, new_height) if relative else scale, dtype=np.float32)
        pixels, masks = self.pixels, self.masks
        if size != self.size:
            resized = cv2.resize(pixels, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
            pixels = resized.astype(np.uint8, copy=False)
            masks = masks and masks.resize(size)
        return replace(
            self,
            pixels=pixels,
            boxes=self.boxes * np.tile(factors, 2),
            outlines=self.outlines * factors,
            masks=masks,
            keypoints=None if self.keypoints is None else self.keypoints * np.append(factors, np.float32(1)),
            scale=(self.scale[0] * scale[0], self.scale[1] * scale[1]),
        )

    def clip(self) -> LabeledImage:
        """Boxes and outlines end with the pixels; some may be empty."""
        extent = np.array(self.size[::-1], dtype=np.float32)
        boxes = np.clip(self.boxes, 0, np.tile(extent, 2))
        return replace(self, boxes=boxes, outlines=np.clip(self.outlines, 0, extent))

    def crop(self, window: Window) -> LabeledImage:
        """The part inside a window; objects end with it, and some may be empty or without keypoints."""
        top, left, height, width = window
        corner = np.array((left, top), dtype=np.float32)
        return replace(
            self,
            pixels=self.pixels[top : top + height, left : left + width],
            boxes=self.boxes - np.tile(corner, 2),
            outlines=self.outlines - corner,
            masks=self.masks and self.masks.crop(window),
            keypoints=None if self.keypoints is None else crop_keypoints(self.keypoints, window),
        ).clip()

    def has_area(self) -> npt.NDArray[np.bool_]:
        """Whether the box of each object, (G,), is not empty."""
        width, height = (self.boxes[:, 2:] - self.boxes[:, :2]).T
        has_area: npt.NDArray[np.bool_] = (width > 0) & (height > 0)
        return has_area

    def bitmaps(self) -> Bitmaps:
        """Bitmaps (G, H, W) of the objects: their masks, or else their filled outlines.

        Raises:
            DataError: an annotation has no segmentation.
        """
        return fill_outlines(self.outlines, self.size) if self.masks is None else self.masks.bitmaps()


def hflip_boxes(boxes: Floats, width: int) -> Floats:
    """Boxes (G, 4) of an image of a width when it is flipped left to right."""
    flipped = boxes.copy()
    flipped[:, [0, 2]] = np.float32(width) - boxes[:, [2, 0]]
    return flipped


def hflip_keypoints(keypoints: Floats, width: int) -> Floats:
    """COCO's keypoints (G, 17, 3) of an image of a width when it is flipped left to right."""
    flipped = keypoints[:, flipped_order(keypoints.shape[1])].copy()
    flipped[:, :, 0] = np.float32(width) - flipped[:, :, 0]
    return _labelled(flipped, flipped[:, :, 2] > 0)


def crop_keypoints(keypoints: Floats, window: Window) -> Floats:
    """Keypoints (G, K, 3) in a window; those outside are no longer labelled."""
    top, left, height, width = window
    cropped = keypoints - np.array((left, top, 0), dtype=np.float32)
    x, y, visibility = np.moveaxis(cropped, 2, 0)
    return _labelled(cropped, (visibility > 0) & (x >= 0) & (x <= width) & (y >= 0) & (y <= height))


def _labelled(keypoints: Floats, where: npt.NDArray[np.bool_]) -> Floats:
    """Keypoints (G, K, 3) of which some (G, K) are labelled; the others are zeros, as COCO has them."""
    return np.where(where[:, :, None], keypoints, np.float32(0))


def paste(canvas: npt.NDArray[np.uint8], image: LabeledImage, corner: tuple[int, int]) -> LabeledImage:
    """Put an image into a canvas, as far as it reaches; boxes and outlines end with the canvas.

    Args:
        canvas: (H, W, 3), written to.
        image: the image, with outlines.
        corner: (row, column) of its first pixel, possibly outside.

    Returns:
        The objects on the canvas; some may be empty.
    """
    row, column = corner
    height, width = canvas.shape[:2]
    top, left = max(row, 0), max(column, 0)
    bottom, right = min(row + image.size[0], height), min(column + image.size[1], width)
    canvas[top:bottom, left:right] = image.pixels[top - row : bottom - row, left - column : right - column]
    shift = np.array((column, row), dtype=np.float32)
    return LabeledImage(canvas, image.labels, image.boxes + np.tile(shift, 2), image.outlines + shift).clip()


def letterbox(image: LabeledImage, side: int) -> LabeledImage:
    """An image with outlines in the middle of a grey square."""
    canvas = np.full((side, side, 3), GREY, dtype=np.uint8)
    return paste(canvas, image, letterbox_offset((side, side), image.size))


def merge(pixels: npt.NDArray[np.uint8], images: Sequence[LabeledImage]) -> LabeledImage:
    """Pixels with the objects of all images, which have outlines."""
    return LabeledImage(
        pixels,
        labels=np.concatenate([image.labels for image in images]),
        boxes=np.concatenate([image.boxes for image in images]),
        outlines=np.concatenate([image.outlines for image in images]),
    )
