"""Ground-truth masks as bitmaps, resized, cropped and flipped together with their image.

Legend: G objects of one image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from zoo.data.coco import CocoGroundTruth
from zoo.data.rle import decode
from zoo.types import Rle, Size

Bitmaps: TypeAlias = npt.NDArray[np.uint8]
"""uint8 (G, H, W): 1 on the object, 0 elsewhere."""

Window: TypeAlias = tuple[int, int, int, int]
"""(top, left, height, width) in pixels."""


@dataclass(frozen=True, slots=True)
class AnnotatedMasks:
    """The masks of annotations, and what is to become of their bitmaps.

    Nothing is decoded before `bitmaps` is called: objects that a crop leaves out never are.

    Attributes:
        ground_truth: annotations with masks.
        annotations: int64 (G,), positions in its annotation columns.
        size: size of the image file.
        steps: what is done to the bitmaps, in order.
    """

    ground_truth: CocoGroundTruth
    annotations: npt.NDArray[np.int64]
    size: Size
    steps: tuple[Callable[[Bitmaps], Bitmaps], ...] = ()

    def select(self, objects: npt.NDArray[np.bool_ | np.int64]) -> AnnotatedMasks:
        """Some of the masks."""
        return replace(self, annotations=self.annotations[objects])

    def resize(self, size: Size) -> AnnotatedMasks:
        """The masks at another size; see `resize_bitmaps`."""
        return self._then(partial(resize_bitmaps, size=size))

    def crop(self, window: Window) -> AnnotatedMasks:
        """The masks inside a window."""
        return self._then(partial(_crop_bitmaps, window=window))

    def hflip(self) -> AnnotatedMasks:
        """The masks flipped left to right."""
        return self._then(_hflip_bitmaps)

    def bitmaps(self) -> Bitmaps:
        """Bitmaps (G, H, W) after all steps.

        Raises:
            DataError: an annotation has no segmentation.
        """
        bitmaps = rasterize([self.ground_truth.rle(annotation) for annotation in self.annotations.tolist()], self.size)
        for step in self.steps:
            bitmaps = step(bitmaps)
        return np.ascontiguousarray(bitmaps)

    def _then(self, step: Callable[[Bitmaps], Bitmaps]) -> AnnotatedMasks:
        return replace(self, steps=(*self.steps, step))


def rasterize(encodings: Sequence[Rle], size: Size) -> Bitmaps:
    """Bitmaps (G, H, W) of encoded masks.

    Args:
        encodings: one an object, as `CocoGroundTruth.rle` gives them: the polygons of one object are united.
        size: size of the image.
    """
    bitmaps = np.empty((len(encodings), *size), dtype=np.uint8)
    for bitmap, encoding in zip(bitmaps, encodings, strict=True):
        bitmap[...] = decode(encoding)
    return bitmaps


def resize_bitmaps(bitmaps: Bitmaps, size: Size) -> Bitmaps:
    """Bitmaps (G, H, W) at another size, by OpenCV's nearest neighbour, as mmdetection and Paddle resize them.

    The source of index i along an axis is floor(i * old / new): the pixel's corner, not its centre.
    """
    height, width = size
    resized = np.empty((len(bitmaps), height, width), dtype=np.uint8)
    for source, target in zip(bitmaps, resized, strict=True):
        cv2.resize(source, (width, height), dst=target, interpolation=cv2.INTER_NEAREST)
    return resized


def _crop_bitmaps(bitmaps: Bitmaps, window: Window) -> Bitmaps:
    top, left, height, width = window
    return bitmaps[:, top : top + height, left : left + width]


def _hflip_bitmaps(bitmaps: Bitmaps) -> Bitmaps:
    return bitmaps[:, :, ::-1]
