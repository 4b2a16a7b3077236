"""Overlaps of masks against pycocotools' own, to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from zoo.data import rle_runs
from zoo.data.rle import encode_window, from_segmentation
from zoo.errors import DataError
from zoo.measure.coco_eval.mask_overlap import mask_pairs
from zoo.types import Rle


def encode(mask: npt.NDArray[np.bool_]) -> Rle:
    return encode_window(mask, (0, 0), (mask.shape[0], mask.shape[1]))


def draw(rng: np.random.Generator, size: tuple[int, int]) -> Rle:
    """Noise, a rectangle, columns from top to bottom, stripes, nothing, or everything."""
    height, width = size
    image = np.zeros(size, dtype=bool)
    top, bottom = np.sort(rng.integers(0, height + 1, 2))
    left, right = np.sort(rng.integers(0, width + 1, 2))
    kind = rng.integers(6)
    if kind == 0:
        image = rng.random(size) < rng.random()
    elif kind == 1:
        image[top:bottom, left:right] = True
    elif kind == 2:
        image[:, left:right] = True
        image[:top, left : left + 1] = False
    elif kind == 3:
        image[top:bottom:2, left:right] = True
    elif kind == 4:
        image[:] = True
    return encode(image)


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1.0))
@settings(max_examples=60, deadline=None)
def test_overlaps_are_those_of_pycocotools(seed: int, min_iou: float) -> None:
    rng = np.random.default_rng(seed)
    masks: list[Rle] = []
    targets: list[Rle] = []
    crowds: list[bool] = []
    first, count = [], []
    expected: dict[tuple[int, int], float] = {}
    for _ in range(rng.integers(1, 5)):  # groups
        sizes = [tuple(rng.integers(1, 12, 2).tolist())] * 2
        if rng.random() < 0.2:  # of another image, by mistake
            sizes[1] = sizes[0][::-1]
        own = [draw(rng, sizes[0]) for _ in range(rng.integers(1, 6))]
        others = [draw(rng, sizes[1]) for _ in range(rng.integers(1, 4))]
        is_crowd = (rng.random(len(others)) < 0.3).tolist()
        sides: Any = own, others
        iou = np.asarray(coco_mask.iou(sides[0], sides[1], is_crowd))  # (own, others)
        for d, g in zip(*np.nonzero(iou >= min_iou), strict=True):
            expected[len(masks) + int(d), len(targets) + int(g)] = iou[d, g]
        first += [len(targets)] * len(own)
        count += [len(others)] * len(own)
        masks, targets, crowds = masks + own, targets + others, crowds + is_crowd
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rle_runs, "_MASKS_AT_A_TIME", int(rng.integers(1, 12)))
        found = mask_pairs(masks, targets, np.array(crowds), np.array(first), np.array(count), min_iou)
    pairs = zip(found.detection.tolist(), found.target.tolist(), strict=True)
    assert dict(zip(pairs, found.iou.tolist(), strict=True)) == expected


def test_overlaps_are_over_the_own_area_where_the_other_is_a_crowd() -> None:
    image = np.zeros((4, 8), dtype=bool)
    own, other = image.copy(), image.copy()
    own[:, :4] = True  # 16 pixels
    other[:, 2:] = True  # 24 pixels, 8 of them shared
    masks, targets = [encode(own), encode(other)], [encode(other), encode(other)]
    found = mask_pairs(masks, targets, np.array([False, True]), np.array([0, 0]), np.array([2, 2]), 0.1)
    assert found.iou.tolist() == [0.25, 0.5, 1.0, 1.0]


def test_runs_that_are_empty_and_parts_that_touch() -> None:
    # 3 outside, 2 inside, none outside, 2 inside, 2 outside, none inside, 7 outside; and the same pixels as one run
    pieces = from_segmentation({"size": [4, 4], "counts": [3, 2, 0, 2, 2, 0, 7]}, (4, 4))
    whole = from_segmentation({"size": [4, 4], "counts": [3, 4, 9]}, (4, 4))
    for mask, target in ((pieces, whole), (whole, pieces)):
        found = mask_pairs([mask], [target], np.array([False]), np.array([0]), np.array([1]))
        assert found.iou.tolist() == [1.0]


def test_a_broken_mask_is_named() -> None:
    good, broken = encode(np.ones((2, 2), dtype=bool)), Rle(size=[2, 2], counts="03")
    with pytest.raises(DataError, match="broken: a mask has not as many pixels as its image"):
        mask_pairs([good, broken], [good], np.array([False]), np.array([0, 0]), np.array([1, 1]))


def test_nothing_to_compare() -> None:
    nothing = np.empty(0, dtype=np.int64)
    assert mask_pairs([], [], np.empty(0, dtype=bool), nothing, nothing).iou.shape == (0,)
