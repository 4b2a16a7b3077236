"""The loader gives every image once, in order, whatever the workers and the batch size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from zoo.data.batching import InOrder
from zoo.data.loader import ImageDataset, image_loader
from zoo.data.preprocess import Preprocess
from zoo.data.size_rules import KeepRatio
from zoo.errors import DataError

SIZES = [(10, 12)] * 5


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for i, (path, size) in enumerate(zip(paths, SIZES, strict=True)):
        cv2.imwrite(str(path), np.full((*size, 3), i * 10, dtype=np.uint8))
    return paths


@pytest.mark.parametrize("workers", [0, 2])
def test_every_image_once_in_order(files: list[Path], workers: int) -> None:
    dataset = ImageDataset(files, [50, 40, 30, 20, 10], SIZES, Preprocess(KeepRatio(24, 20)))
    batches = list(image_loader(dataset, InOrder().plan(SIZES, 2, whole=True), workers))
    assert [[s.image_id for s in batch] for batch in batches] == [[50, 40], [30, 20], [10]]
    assert [int(s.pixels[0, 0, 0]) for batch in batches for s in batch] == [0, 10, 20, 30, 40]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_of_another_size_than_annotated_is_named(files: list[Path], workers: int) -> None:
    sizes = [*SIZES[:3], SIZES[3][::-1], SIZES[4]]
    dataset = ImageDataset(files, range(5), sizes, Preprocess(KeepRatio(24, 20)))
    with pytest.raises(DataError, match=r"3\.png: .* and the annotations were made for"):
        list(image_loader(dataset, InOrder().plan(SIZES, 2, whole=True), workers))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_named_from_a_worker_too(files: list[Path], workers: int) -> None:
    files[3].write_bytes(b"nothing")
    dataset = ImageDataset(files, range(5), SIZES, Preprocess(KeepRatio(24, 20)))
    with pytest.raises(DataError, match=r"3\.png") as caught:
        list(image_loader(dataset, InOrder().plan(SIZES, 2, whole=True), workers))
    assert caught.value.next_step
