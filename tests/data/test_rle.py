"""COCO's run-length encoding against pycocotools, and on masks that can be drawn on paper."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from zoo.data.rle import (
    areas,
    decode,
    encode_edges,
    encode_window,
    encode_windows,
    from_segmentation,
    run_lengths,
)
from zoo.types import Rle


def encode_image(image: npt.NDArray[Any]) -> Rle:
    """The encoding of a mask (H, W), by pycocotools."""
    encoded: Any = coco_mask.encode(np.asfortranarray(image, dtype=np.uint8))
    return Rle(size=[int(side) for side in encoded["size"]], counts=encoded["counts"].decode("ascii"))


def rectangle(size: tuple[int, int], rows: slice, columns: slice) -> npt.NDArray[np.bool_]:
    image = np.zeros(size, dtype=np.bool_)
    image[rows, columns] = True
    return image


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_window_is_encoded_as_its_image(data: st.DataObject) -> None:
    height, width = (data.draw(st.integers(1, 9)) for _ in range(2))
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    bottom, right = data.draw(st.integers(top + 1, height)), data.draw(st.integers(left + 1, width))
    share = data.draw(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
    generator = np.random.default_rng(data.draw(st.integers(0, 1000)))
    image = np.zeros((height, width), dtype=np.bool_)
    image[top:bottom, left:right] = generator.random((bottom - top, right - left)) < share
    found = encode_window(image[top:bottom, left:right], (top, left), (height, width))
    assert found == encode_image(image)


def test_windows_are_encoded_one_by_one() -> None:
    images = [rectangle((6, 5), slice(i, i + 2), slice(1, 4)) for i in range(4)]
    windows = [image[i : i + 2, 1:4] for i, image in enumerate(images)]
    assert encode_windows(windows, [(i, 1) for i in range(4)], (6, 5)) == [encode_image(image) for image in images]
    assert encode_windows([], [], (6, 5)) == []


def test_masks_are_encoded_from_the_edges_of_their_columns() -> None:
    across_a_foot, to_the_end, whole = [2, 4, 4, 6], [9, 12], [0, 4, 4, 8, 8, 12]
    masks = [across_a_foot, [], to_the_end, whole]
    edges = [i * 13 + edge for i, mask in enumerate(masks) for edge in mask]  # 12 pixels, and a place more
    pixels = [slice(2, 6), slice(0), slice(9, 12), slice(12)]
    images = np.zeros((4, 12), dtype=np.bool_)
    for image, part in zip(images, pixels, strict=True):
        image[part] = True
    found = encode_edges(np.array(edges), 4, (4, 3))
    assert found == [encode_image(image.reshape(3, 4).T) for image in images]
    assert encode_edges(np.zeros(0, dtype=np.int64), 2, (4, 3)) == found[1:2] * 2


def test_long_runs_are_encoded_as_pycocotools_does() -> None:
    image = rectangle((480, 640), slice(None), slice(100, 400))  # one run over 300 columns
    assert encode_window(image, (0, 0), (480, 640)) == encode_image(image)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 80), st.integers(1, 80), st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]), st.integers(0, 1000))
def test_decoding_undoes_encoding(height: int, width: int, share: float, seed: int) -> None:
    bitmap = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)
    assert np.array_equal(decode(encode_image(bitmap)), bitmap)


def test_long_runs_are_decoded() -> None:
    bitmap = rectangle((700, 900), slice(None), slice(100, 800))
    bitmap[300, 850] = True
    assert np.array_equal(decode(encode_image(bitmap)), bitmap)


@pytest.mark.parametrize(
    ("mask", "runs"),
    [
        ([[True, False], [True, True]], [0, 2, 1, 1]),
        ([[False, False], [False, True]], [3, 1]),
        ([[True, False], [False, False]], [0, 1, 3]),
        ([[False, False], [False, False]], [4]),
        ([[True, True], [True, True]], [0, 4]),
    ],
)
def test_runs_go_down_the_columns_and_begin_outside(mask: list[list[bool]], runs: list[int]) -> None:
    assert run_lengths(np.array(mask)) == runs


def test_the_three_forms_of_a_segmentation() -> None:
    image = rectangle((4, 6), slice(1, 3), slice(2, 5))
    encoded = encode_image(image)
    assert from_segmentation([[2, 1, 5, 1, 5, 3, 2, 3]], (4, 6)) == encoded
    assert from_segmentation({"size": [4, 6], "counts": run_lengths(image)}, (4, 6)) == encoded
    assert from_segmentation(encoded, (4, 6)) is encoded


def test_polygons_of_one_object_are_united() -> None:
    left, right = [0, 0, 2, 0, 2, 2, 0, 2], [3, 0, 5, 0, 5, 2, 3, 2]
    both = rectangle((2, 5), slice(None), slice(0, 2)) | rectangle((2, 5), slice(None), slice(3, 5))
    assert from_segmentation([left, right], (2, 5)) == encode_image(both)


def test_areas_of_more_masks_than_pycocotools_takes_at_once() -> None:
    assert areas([encode_image(rectangle((4, 4), slice(0, 1), slice(0, 3)))] * 600).tolist() == [3.0] * 600
    assert areas([]).shape == (0,)
