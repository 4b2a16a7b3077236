"""Ground-truth masks as bitmaps: resized as OpenCV does, cropped, flipped, and only where they are asked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from zoo.data.augment.masks import AnnotatedMasks, Bitmaps, rasterize, resize_bitmaps
from zoo.data.coco import CocoGroundTruth
from zoo.errors import DataError
from zoo.types import Rle, Size


def encode(bitmap: np.ndarray) -> Rle:
    encoded = coco_mask.encode(np.asfortranarray(bitmap, dtype=np.uint8))
    height, width = bitmap.shape
    return Rle(size=[height, width], counts=encoded["counts"].decode("ascii"))  # type: ignore[union-attr] # bytes


def random_bitmaps(count: int, size: Size) -> Bitmaps:
    return np.random.default_rng(0).integers(0, 2, (count, *size), dtype=np.uint8)


def test_rasterize() -> None:
    bitmaps = random_bitmaps(3, (7, 5))
    assert np.array_equal(rasterize([encode(bitmap) for bitmap in bitmaps], (7, 5)), bitmaps)
    assert rasterize([], (7, 5)).shape == (0, 7, 5)


@pytest.mark.parametrize("size", [(800, 1067), (300, 211), (480, 640), (7, 1333)])
def test_the_source_of_a_pixel_is_its_corner(size: Size) -> None:
    bitmaps = random_bitmaps(2, (480, 640))
    rows, columns = (
        np.minimum(np.floor(np.arange(new) * (1.0 / (new / old))).astype(int), old - 1)
        for new, old in zip(size, (480, 640), strict=True)
    )
    resized = resize_bitmaps(bitmaps, size)
    assert resized.dtype == np.uint8
    assert np.array_equal(resized, bitmaps[:, rows[:, None], columns])


def test_no_masks_to_resize() -> None:
    assert resize_bitmaps(random_bitmaps(0, (4, 6)), (8, 12)).shape == (0, 8, 12)


def make_ground_truth(folder: Path, bitmaps: Bitmaps) -> CocoGroundTruth:
    """One image whose objects have these masks."""
    count, height, width = bitmaps.shape
    image = {"id": 1, "file_name": "1.png", "height": height, "width": width}
    row = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "area": 1, "iscrowd": 0}
    rows = [{**row, "id": i + 1, "segmentation": encode(bitmaps[i])} for i in range(count)]
    document = {"images": [image], "categories": [{"id": 1, "name": "one"}], "annotations": rows}
    (folder / "annotations.json").write_text(json.dumps(document), encoding="utf-8")
    return CocoGroundTruth.load(folder / "annotations.json")


def test_steps_are_taken_in_their_order(tmp_path: Path) -> None:
    bitmaps = random_bitmaps(3, (4, 6))
    masks = AnnotatedMasks(make_ground_truth(tmp_path, bitmaps), np.arange(3), (4, 6))
    assert np.array_equal(masks.bitmaps(), bitmaps)
    assert np.array_equal(masks.hflip().bitmaps(), bitmaps[:, :, ::-1])
    window = masks.select(np.array([2, 0])).resize((8, 12)).crop((1, 2, 3, 4)).hflip().bitmaps()
    large = resize_bitmaps(bitmaps, (8, 12))
    assert np.array_equal(window, large[[2, 0], 1:4, 2:6][:, :, ::-1])
    assert window.flags.c_contiguous


def test_objects_that_are_left_out_are_never_decoded(tmp_path: Path) -> None:
    truth = make_ground_truth(tmp_path, random_bitmaps(2, (4, 6)))
    truth.segmentations[0] = None
    masks = AnnotatedMasks(truth, np.arange(2), (4, 6)).resize((8, 12))
    assert masks.select(np.array([False, True])).bitmaps().shape == (1, 8, 12)
    assert masks.select(np.array([False, False])).bitmaps().shape == (0, 8, 12)
    with pytest.raises(DataError, match="annotation 1 has no segmentation"):
        masks.bitmaps()
