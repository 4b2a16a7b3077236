"""Ground-truth masks as bitmaps, resized and mirrored together with their image.

Legend: G objects of one image.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

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


def decode(mask: Rle) -> npt.NDArray[np.uint8]:
    """The bitmap (H, W) of a mask.

    The text holds run lengths in groups of five bits, lowest first, each a character from "0" on whose
    bit 32 says that more follow; from the fourth run on the difference to the run before last.
    (pycocotools' own decoder warns under numpy 2.)
    """
    height, width = mask["size"]
    codes = np.frombuffer(mask["counts"].encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(codes & 32 == 0)  # (N,), the last character of each number
    begins = np.append(0, ends[:-1] + 1)
    place = np.arange(len(codes)) - np.repeat(begins, ends + 1 - begins)  # of a character in its number
    runs = np.add.reduceat((codes & 31) << 5 * place, begins)
    negative = codes[ends] & 16 != 0  # numbers are two's complements
    runs -= np.where(negative, 1 << 5 * (place[ends] + 1), 0)
    runs[1::2], runs[2::2] = np.cumsum(runs[1::2]), np.cumsum(runs[2::2])
    pixels = np.repeat((np.arange(len(runs)) & 1).astype(np.uint8), runs)
    return pixels.reshape(width, height).T  # runs go down the columns


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
