"""Digests of files, and what is known about a file before it is there."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from zoo.fetch.cache import CHUNK, progress
from zoo.fetch.names import split_url

MAX_SIZE = 8 * 2**30
"""Bytes of the largest file that is fetched without its size being known. Only checkpoints are; those of the
catalogue have some hundred MB, and optimizer state makes one about three times as large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """What a file's bytes are: its size in bytes and its hashes, lower-case hex.

    `md5` is None unless it was asked for.
    """

    size: int
    sha256: str
    md5: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedFile:
    """What is known of a file before it is there. None stands for "not known".

    Attributes:
        size: number of bytes.
        md5: digest, lower-case hex.
        sha256: digest, lower-case hex, published or pinned.
        sha256_prefix: the first digits of the published sha256, lower-case hex.
        pinned_on: the day on which `size` and `sha256` were pinned; None where the publisher gave it.
        max_size: bytes above which it cannot be the file, where the exact number is not known.
    """

    size: int | None = None
    md5: str | None = None
    sha256: str | None = None
    sha256_prefix: str | None = None
    pinned_on: str | None = None
    max_size: int = MAX_SIZE

    @property
    def limit(self) -> int:
        """The most bytes that are taken from a server."""
        return self.max_size if self.size is None else self.size

    def wrong_size(self, size: int) -> str:
        """How a file of another size than `size` differs, as the end of a sentence."""
        text = f"{size:,} bytes instead of {self.size:,}"
        return f"has {text}" if self.pinned_on is None else f"{self._changed}: {text}"

    @property
    def _changed(self) -> str:
        return f"has changed since it was pinned on {self.pinned_on}"

    def mismatch(self, digest: Digest) -> str | None:
        """How a file differs from what is known of it, as the end of a sentence; None if it fits."""
        if self.size is not None and digest.size != self.size:
            return self.wrong_size(digest.size)
        if self.sha256_prefix is not None and not digest.sha256.startswith(self.sha256_prefix):
            return f"sha256 is {digest.sha256}, but the published one begins with {self.sha256_prefix}"
        if self.sha256 is not None and digest.sha256 != self.sha256:
            if self.pinned_on is not None:
                return f"{self._changed}: sha256 is {digest.sha256}, the pinned one is {self.sha256}"
            return f"sha256 is {digest.sha256}, the published one is {self.sha256}"
        if self.md5 is not None and digest.md5 != self.md5:
            return f"md5 is {digest.md5}, the published one is {self.md5}"
        return None


class Hasher:
    """Digests bytes as they pass by.

    Args:
        md5: whether to compute that too (old data sets publish nothing else).
    """

    def __init__(self, *, md5: bool = False) -> None:
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 else None

    def update(self, chunk: bytes) -> None:
        """Take the next bytes of the file."""
        self._size += len(chunk)
        self._sha256.update(chunk)
        if self._md5 is not None:
            self._md5.update(chunk)

    def digest(self) -> Digest:
        """The digest of everything taken so far."""
        md5 = self._md5.hexdigest() if self._md5 is not None else None
        return Digest(size=self._size, sha256=self._sha256.hexdigest(), md5=md5)


def hash_file(path: Path, *, md5: bool = False) -> Digest:
    """The digest of a file on disk.

    Raises:
        OSError: the file cannot be read.
    """
    hasher = Hasher(md5=md5)
    feed_file(hasher, path)
    return hasher.digest()


def feed_file(hasher: Hasher, path: Path) -> None:
    """Let a hasher take a whole file."""
    with path.open("rb") as file, progress(f"hashing {path.name}", total=path.stat().st_size) as bar:
        while chunk := file.read(CHUNK):
            hasher.update(chunk)
            bar.update(len(chunk))


def published_prefix_from_name(url_or_name: str) -> str | None:
    """The sha256 prefix that the OpenMMLab zoos put at the end of a checkpoint's file name.

    Their publishing tool appends the first 8 hex digits of the file's sha256:
    `faster_rcnn_r50_fpn_1x_coco_20200130-047c8118.pth` -> `047c8118`. The rule looks at the very
    end only, after the last `-` and before `.pth`; a query string is ignored. Decimal digits are
    hex digits too, so `x-20200130.pth` counts as carrying a prefix: give the entry's
    `sha256_prefix` explicitly where a name only looks like it.

    Returns:
        The 8 lower-case digits, or None where the name carries none.
    """
    parts = split_url(url_or_name)
    found = re.search(r"-([0-9a-f]{8})\.pth\Z", parts.path) if parts is not None else None
    return found.group(1) if found else None
