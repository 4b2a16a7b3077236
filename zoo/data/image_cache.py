"""Decoded and resized images on the disk, for sweeps in which many rows see the same images in the same way.

A file is known by content alone: the bytes of the image, the resolved settings of the preprocessing, the code that
carries it out and the versions of the libraries below it. Whoever asks for another of these finds nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from zoo.runtime.provenance import bare_names
from zoo.runtime.syntax import code_hash, import_closure
from zoo.types import Image, Sample, Size, Transform

LIBRARIES = ("numpy", "opencv-python-headless", "pillow", "torch")
"""What decodes and resizes."""

_CODE = ("zoo.data.preprocess", "zoo.data.images", "zoo.data.resamplers", "zoo.data.size_rules")

_FACTS = ("original_size", "scale", "batch_shape", "device_size")
"""What a sample says besides its pixels; the id is that of the data set that asks."""

_LEFT = 0.9
"""Share of the limit that is left after the cache was too large."""


class ImageCache:
    """Files below a folder, of which those that were not used for longest go when there are too many bytes.

    Several processes may share it: a file appears whole or not at all, one that disappears or is damaged is a miss.

    Args:
        folder: made on first use.
        limit: bytes that it may take.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self._bytes: int | None = None

    def get(self, key: str) -> tuple[torch.Tensor, Mapping[str, Any]] | None:
        """Pixels and what was stored with them; None where there is nothing, or something damaged."""
        path = self._path(key)
        try:
            with safe_open(path, framework="pt") as file:
                pixels, facts = file.get_tensor("pixels"), json.loads(file.metadata()["facts"])
            os.utime(path)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None
        return (pixels, facts) if facts["crc32"] == _crc32(pixels) else None

    def put(self, key: str, pixels: torch.Tensor, facts: Mapping[str, Any]) -> None:
        """Store pixels, and what JSON can hold. A disk that refuses loses the cache nothing but this."""
        path = self._path(key)
        metadata = {"facts": json.dumps({**facts, "crc32": _crc32(pixels)})}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
            os.close(descriptor)
            try:
                save_file({"pixels": pixels.contiguous()}, name, metadata)
                size = Path(name).stat().st_size
                self._make_room(size)
                Path(name).replace(path)
            finally:
                Path(name).unlink(missing_ok=True)
        except (OSError, SafetensorError):
            return
        self._bytes = (self._bytes or 0) + size

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"

    def _make_room(self, size: int) -> None:
        """Remove what was not used for longest, where one more file would be too much."""
        if self._bytes is not None and self._bytes + size <= self.limit:
            return
        files = []
        for path in self.folder.glob("*/*.safetensors"):
            try:
                status = path.stat()
            except FileNotFoundError:  # another process made room
                continue
            files.append((status.st_mtime, status.st_size, path))
        self._bytes = sum(taken for _, taken, _ in files)
        if self._bytes + size <= self.limit:
            return
        for _, taken, path in sorted(files):
            if self._bytes + size <= _LEFT * self.limit:
                break
            path.unlink(missing_ok=True)
            self._bytes -= taken


class CachedTransform:
    """A preprocessing whose results are kept.

    Args:
        transform: the preprocessing.
        settings: the part of the resolved protocol that it is made of.
        cache: where results are kept.
    """

    def __init__(self, transform: Transform, settings: Mapping[str, Any], cache: ImageCache) -> None:
        self.transform = transform
        self.cache = cache
        libraries = {name: version(name) for name in LIBRARIES}
        code = code_hash(import_closure(_CODE).values())
        made_by = json.dumps([bare_names(settings), libraries, code], sort_keys=True)
        self._made_by = hashlib.sha256(made_by.encode()).digest()

    def __call__(self, image: Image, image_id: int = 0, size: Size | None = None) -> Sample:
        """The sample of an image, as the preprocessing gives it.

        Raises:
            DataError: as the preprocessing does.
        """
        key = self._key(image)
        found = None if key is None else self.cache.get(key)
        if key is None or found is None or size not in (None, tuple(found[1]["original_size"])):
            sample = self.transform(image, image_id, size)
            if key is not None:
                self.cache.put(key, sample.pixels, {name: getattr(sample, name) for name in _FACTS})
            return sample
        pixels, facts = found
        sizes = {name: facts[name] and tuple(facts[name]) for name in _FACTS}
        return Sample(pixels=pixels, image_id=image_id, **sizes)

    def _key(self, image: Image) -> str | None:
        """What a result is known by; None for what is no file, or cannot be read: the preprocessing says why."""
        if not isinstance(image, str | Path):
            return None
        try:
            content = Path(image).read_bytes()
        except OSError:
            return None
        return hashlib.sha256(self._made_by + hashlib.sha256(content).digest()).hexdigest()


def _crc32(pixels: torch.Tensor) -> int:
    return zlib.crc32(pixels.contiguous().numpy().data)
