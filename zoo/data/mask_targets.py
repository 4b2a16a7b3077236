"""Ground-truth masks as bitmaps, resized and mirrored together with their image.

Legend: G objects of one image.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from zoo.data.rle import decode
from zoo.types import Rle, Size

Bitmaps = npt.NDArray[np.uint8]
"""uint8 (G, H, W): 1 on the object, 0 elsewhere."""


def rasterise(segmentations: Sequence[Rle], size: Size) -> Bitmaps:
    """Bitmaps (G, H, W) of objects.

    Args:
        segmentations: one an object, as `CocoGroundTruth.rle` gives them: the polygons of one object are united.
        size: of the image.
    """
    bitmaps = np.empty((len(segmentations), *size), dtype=np.uint8)
    for bitmap, segmentation in zip(bitmaps, segmentations, strict=True):
        bitmap[...] = decode(segmentation)
    return bitmaps


def resize_masks(bitmaps: Bitmaps, size: Size) -> Bitmaps:
    """Bitmaps (G, H, W) at another size, by OpenCV's nearest neighbour, as mmdetection and Paddle resize them.

    The source of index i along an axis is floor(i * old / new): the pixel's corner, not its centre.
    """
    height, width = size
    resized = np.empty((len(bitmaps), height, width), dtype=np.uint8)
    for source, target in zip(bitmaps, resized, strict=True):
        cv2.resize(source, (width, height), dst=target, interpolation=cv2.INTER_NEAREST)
    return resized


def flip_masks(bitmaps: Bitmaps) -> Bitmaps:
    """Bitmaps (G, H, W) mirrored left to right."""
    return np.ascontiguousarray(bitmaps[:, :, ::-1])
