"""The loader gives every image once, in order, whatever the workers and the batch size."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from zoo.data import loader
from zoo.data.batching import InOrder
from zoo.data.loader import MAX_WORKERS, ImageDataset, default_workers, image_loader
from zoo.data.preprocess import Preprocess
from zoo.data.size_rules import KeepRatio
from zoo.errors import DataError
from zoo.types import Sample, Target

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


@pytest.mark.parametrize(
    ("cores", "processes", "workers"), [(1, 1, 1), (2, 1, 1), (6, 1, 5), (64, 1, MAX_WORKERS), (16, 4, 3), (4, 8, 1)]
)
def test_a_core_is_left_to_each_process_that_waits(
    monkeypatch: pytest.MonkeyPatch, cores: int, processes: int, workers: int
) -> None:
    monkeypatch.setattr(loader, "usable_cores", lambda: cores)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert default_workers("cuda") == workers
    assert default_workers("cpu") == 0


def test_closed_before_its_end_no_worker_is_left(files: list[Path]) -> None:
    dataset = ImageDataset(files, range(5), SIZES, Preprocess(KeepRatio(24, 20)))
    before = set(multiprocessing.active_children())
    batches = image_loader(dataset, InOrder().plan(SIZES, 1, whole=True), 1)
    next(batches)
    assert set(multiprocessing.active_children()) > before
    batches.close()
    assert set(multiprocessing.active_children()) <= before


def test_everything_but_polygons_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 1)
    zeros = torch.zeros(1, 4)
    sample = Sample(torch.zeros(2, 3, 3), 7, (20, 30), (0.1, 0.1), (32, 32)).pin_memory()
    assert (sample.pixels.flatten().tolist(), sample.image_id, sample.batch_shape) == ([1.0] * 18, 7, (32, 32))
    target = Target(zeros, zeros[0], masks=zeros, polygons=[[zeros]], keypoints=zeros).pin_memory()
    for tensor in (target.boxes, target.labels, target.masks, target.keypoints):
        assert tensor is not None
        assert bool((tensor == 1).all())
    assert target.polygons == [[zeros]]
