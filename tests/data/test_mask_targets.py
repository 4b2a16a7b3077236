"""Ground-truth masks as bitmaps: decoding, resizing as OpenCV does, mirroring."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from zoo.data.mask_targets import Bitmaps, flip_masks, rasterise, resize_masks
from zoo.types import Rle, Size


def encode(bitmap: np.ndarray) -> Rle:
    encoded = coco_mask.encode(np.asfortranarray(bitmap, dtype=np.uint8))
    height, width = bitmap.shape
    return Rle(size=[height, width], counts=encoded["counts"].decode("ascii"))  # type: ignore[union-attr] # bytes


def random_bitmaps(count: int, size: Size) -> Bitmaps:
    return np.random.default_rng(0).integers(0, 2, (count, *size), dtype=np.uint8)


def test_rasterise() -> None:
    bitmaps = random_bitmaps(3, (7, 5))
    assert np.array_equal(rasterise([encode(bitmap) for bitmap in bitmaps], (7, 5)), bitmaps)
    assert rasterise([], (7, 5)).shape == (0, 7, 5)


@pytest.mark.parametrize("size", [(800, 1067), (300, 211), (480, 640), (7, 1333)])
def test_the_source_of_a_pixel_is_its_corner(size: Size) -> None:
    bitmaps = random_bitmaps(2, (480, 640))
    rows, columns = (
        np.minimum(np.floor(np.arange(new) * (1.0 / (new / old))).astype(int), old - 1)
        for new, old in zip(size, (480, 640), strict=True)
    )
    resized = resize_masks(bitmaps, size)
    assert resized.dtype == np.uint8
    assert np.array_equal(resized, bitmaps[:, rows[:, None], columns])


def test_no_masks_to_resize() -> None:
    assert resize_masks(random_bitmaps(0, (4, 6)), (8, 12)).shape == (0, 8, 12)


def test_flip() -> None:
    bitmaps = random_bitmaps(2, (4, 6))
    flipped = flip_masks(bitmaps)
    assert flipped.flags.c_contiguous
    assert np.array_equal(flipped[:, :, 0], bitmaps[:, :, -1])
    assert np.array_equal(flip_masks(flipped), bitmaps)
