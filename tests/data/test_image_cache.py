"""Decoded and resized images on the disk: the same samples, whatever happens to the files."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from zoo.data import image_cache
from zoo.data.image_cache import CachedTransform, ImageCache
from zoo.data.preprocess import HostNormalizer, Preprocess
from zoo.data.size_rules import Letterbox
from zoo.errors import DataError
from zoo.types import Image, Sample, Size

SETTINGS = {"_target_": "zoo.data.preprocess.Preprocess", "size_rule": {"long": 64}}


class Counting:
    """A preprocessing that counts its calls."""

    def __init__(self, transform: Callable[..., Sample]) -> None:
        self.transform = transform
        self.calls = 0

    def __call__(self, image: Image, image_id: int = 0, size: Size | None = None) -> Sample:
        self.calls += 1
        return self.transform(image, image_id, size)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return drawn(tmp_path / "image.png", 1)


def drawn(path: Path, seed: int) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (48, 100, 3), dtype=np.uint8)
    cv2.imwrite(str(path), pixels)
    return path


@pytest.fixture
def transform() -> Counting:
    return Counting(Preprocess(Letterbox(long=64, stride=32, pad=0.5)))


def cached(transform: Counting, folder: Path, limit: int = 10**9, settings: Any = SETTINGS) -> CachedTransform:
    return CachedTransform(transform, settings, ImageCache(folder / "cache", limit))


def same(a: Sample, b: Sample) -> bool:
    facts = [(one.image_id, one.original_size, one.scale, one.batch_shape, one.pixels.dtype) for one in (a, b)]
    return facts[0] == facts[1] and torch.equal(a.pixels, b.pixels)


def files(folder: Path) -> list[Path]:
    return [path for path in (folder / "cache").rglob("*") if path.is_file()]


@pytest.mark.parametrize("normalizer", [None, HostNormalizer(mean=[1.0, 2.0, 3.0])])
def test_the_same_sample_without_decoding_again(tmp_path: Path, image: Path, normalizer: HostNormalizer | None) -> None:
    transform = Counting(Preprocess(Letterbox(long=64, stride=32, pad=0.5), normalizer=normalizer))
    plain = transform(image, 7, (48, 100))
    kept = cached(transform, tmp_path)
    assert all(same(kept(image, 7, (48, 100)), plain) for _ in range(3))
    assert transform.calls == 2
    assert kept(image, 8).image_id == 8, "another data set may call it otherwise"
    assert cached(transform, tmp_path)(str(image), 7).scale == plain.scale, "by another process"
    assert transform.calls == 2
    assert len(files(tmp_path)) == 1


def test_whatever_makes_another_sample_is_a_miss(
    tmp_path: Path, image: Path, transform: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached(transform, tmp_path)(image)
    cached(transform, tmp_path, settings={**SETTINGS, "size_rule": {"long": 32}})(image)
    assert transform.calls == 2, "other settings"
    cached(transform, tmp_path)(drawn(image, 2))
    assert transform.calls == 3, "another image under the same name"
    monkeypatch.setattr(image_cache, "version", lambda name: f"another {name}")
    cached(transform, tmp_path)(image)
    assert transform.calls == 4, "other libraries"
    monkeypatch.undo()
    monkeypatch.setattr(image_cache, "code_hash", lambda _: "another")
    cached(transform, tmp_path)(image)
    assert transform.calls == 5, "other code"


def test_an_image_of_another_size_is_refused_as_ever(tmp_path: Path, image: Path, transform: Counting) -> None:
    kept = cached(transform, tmp_path)
    kept(image)
    with pytest.raises(DataError):
        kept(image, 1, (48, 101))
    with pytest.raises(DataError):
        kept(tmp_path / "absent.png")


@pytest.mark.parametrize("damage", [b"", b"\x00" * 100, None], ids=["empty", "zeros", "a bit"])
def test_damaged_files_are_misses(tmp_path: Path, image: Path, transform: Counting, damage: bytes | None) -> None:
    kept = cached(transform, tmp_path)
    plain = kept(image)
    (path,) = files(tmp_path)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content if damage is None else damage)
    assert same(kept(image), plain)
    assert transform.calls == 2
    assert same(kept(image), plain)
    assert transform.calls == 2, "and made whole"


def test_a_disk_that_refuses_costs_nothing_but_the_cache(tmp_path: Path, image: Path, transform: Counting) -> None:
    (tmp_path / "cache").write_text("no folder", encoding="utf-8")
    kept = cached(transform, tmp_path)
    assert same(kept(image), kept(image))
    assert transform.calls == 2


def test_it_takes_no_more_than_it_may(tmp_path: Path, transform: Counting) -> None:
    images = [drawn(tmp_path / f"{seed}.png", seed) for seed in range(12)]
    cached(transform, tmp_path)(images[0])
    size = files(tmp_path)[0].stat().st_size
    kept = cached(transform, tmp_path, limit=5 * size + 10)
    for number, image in enumerate(images[:5]):
        kept(image)
        for path in files(tmp_path):
            os.utime(path, (number, min(path.stat().st_mtime, number)))
    for image in images[5:]:
        kept(image)
        assert sum(path.stat().st_size for path in files(tmp_path)) <= 5 * size + 10
    calls = transform.calls
    kept(images[-1])
    assert transform.calls == calls, "the last one stays"
    kept(images[0])
    assert transform.calls == calls + 1, "what was not used for longest went"


def test_several_at_a_time(tmp_path: Path, transform: Counting) -> None:
    images = [drawn(tmp_path / f"{seed}.png", seed) for seed in range(4)]
    plain = [transform(image) for image in images]
    size = plain[0].pixels.numel() + 1000
    caches = [cached(transform, tmp_path, limit=2 * size) for _ in range(4)]

    def many(number: int) -> bool:
        return all(same(caches[number](images[i % 4]), plain[i % 4]) for i in range(50))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(many, range(4)))
    assert not [path for path in files(tmp_path) if path.suffix == ".part"]
