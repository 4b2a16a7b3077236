"""Ground-truth masks, as bitmaps or as polygons, resized, cropped and flipped together with their image.

Legend: G objects of one image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from zoo.data.coco import CocoGroundTruth
from zoo.data.rle import decode, from_segmentation
from zoo.errors import DataError
from zoo.types import Rle, Size

Bitmaps: TypeAlias = npt.NDArray[np.uint8]
"""uint8 (G, H, W): 1 on the object, 0 elsewhere."""

Window: TypeAlias = tuple[int, int, int, int]
"""(top, left, height, width) in pixels."""


class MaskResampler(Protocol):
    """Bitmaps (G, H, W) to bitmaps of another (height, width)."""

    def __call__(self, bitmaps: Bitmaps, size: Size) -> Bitmaps: ...


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

    def resize(self, size: Size, resample: MaskResampler | None = None) -> AnnotatedMasks:
        """The masks at another size.

        Args:
            size: (height, width).
            resample: how bitmaps are resized; by OpenCV where nothing is said.
        """
        return self._then(partial(resample or resize_bitmaps, size=size))

    def crop(self, window: Window) -> AnnotatedMasks:
        """The masks inside a window."""
        return self._then(partial(_crop_bitmaps, window=window))

    def pad(self, size: Size, corner: tuple[int, int]) -> AnnotatedMasks:
        """The masks on a canvas of a size, whose pixel at `corner`, (row, column), is their first."""
        return self._then(partial(_pad_bitmaps, size=size, corner=corner))

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


@dataclass(frozen=True, slots=True)
class Polygons:
    """The masks of objects as polygons, which stay exact whatever is done to the image.

    Attributes:
        objects: of each object (G) its polygons, float32 (L, 2), x and y in pixels, possibly beyond the image.
        size: size of the image.
    """

    objects: tuple[tuple[npt.NDArray[np.float32], ...], ...]
    size: Size

    @classmethod
    def of(cls, ground_truth: CocoGroundTruth, annotations: npt.NDArray[np.int64], size: Size) -> Polygons:
        """The polygons of annotations (G,) of an image of a size.

        Raises:
            DataError: an annotation has none.
        """
        objects = []
        for annotation in annotations.tolist():
            polygons = ground_truth.segmentations[annotation]
            if not isinstance(polygons, list) or not polygons:
                message = f"annotation {ground_truth.annotation_ids[annotation]} has no polygons to train masks on"
                raise DataError(message, next_step="train boxes only, or use annotations whose masks are polygons")
            objects.append(tuple(np.array(polygon, dtype=np.float32).reshape(-1, 2) for polygon in polygons))
        return cls(tuple(objects), size)

    def select(self, objects: npt.NDArray[np.bool_ | np.int64]) -> Polygons:
        """Some of the masks."""
        return replace(self, objects=tuple(self.objects[i] for i in np.arange(len(self.objects))[objects]))

    def resize(self, size: Size) -> Polygons:
        """The masks at another size."""
        (height, width), (new_height, new_width) = self.size, size
        factors = np.array((new_width / width, new_height / height), dtype=np.float32)
        return replace(self._each(lambda points: points * factors), size=size)

    def crop(self, window: Window) -> Polygons:
        """The masks as seen in a window."""
        top, left, height, width = window
        corner = np.array((left, top), dtype=np.float32)
        return replace(self._each(lambda points: points - corner), size=(height, width))

    def pad(self, size: Size, corner: tuple[int, int]) -> Polygons:
        """The masks on a canvas of a size, whose pixel at `corner`, (row, column), is their first."""
        return self.crop((-corner[0], -corner[1], *size))

    def hflip(self) -> Polygons:
        """The masks flipped left to right."""
        end, sign = np.array((self.size[1], 0), dtype=np.float32), np.array((-1, 1), dtype=np.float32)
        return self._each(lambda points: end + sign * points)

    def bitmaps(self) -> Bitmaps:
        """Bitmaps (G, H, W)."""
        segmentations = [[points.ravel().tolist() for points in polygons] for polygons in self.objects]
        return rasterize([from_segmentation(segmentation, self.size) for segmentation in segmentations], self.size)

    def _each(self, change: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]) -> Polygons:
        return replace(self, objects=tuple(tuple(map(change, polygons)) for polygons in self.objects))


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


def resize_bitmaps_torch(bitmaps: Bitmaps, size: Size) -> Bitmaps:
    """Bitmaps (G, H, W) at another size, by torch's nearest neighbour, as torchvision resizes them.

    The source of index i is floor(i * old / new), as for OpenCV; but computed in float32, which now and then is the
    neighbour where the quotient is a whole number.
    """
    resized = F.interpolate(torch.from_numpy(np.ascontiguousarray(bitmaps))[:, None], size=size, mode="nearest")
    return resized[:, 0].numpy()


def _crop_bitmaps(bitmaps: Bitmaps, window: Window) -> Bitmaps:
    top, left, height, width = window
    return bitmaps[:, top : top + height, left : left + width]


def _pad_bitmaps(bitmaps: Bitmaps, size: Size, corner: tuple[int, int]) -> Bitmaps:
    count, height, width = bitmaps.shape
    top, left = corner
    canvas = np.zeros((count, *size), dtype=np.uint8)
    canvas[:, top : top + height, left : left + width] = bitmaps
    return canvas


def _hflip_bitmaps(bitmaps: Bitmaps) -> Bitmaps:
    return bitmaps[:, :, ::-1]
