"""The bytes of a checkpoint file, and the kind of container they are, told by the first of them."""

from __future__ import annotations

import io
import mmap
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from zoo.errors import CheckpointError
from zoo.fetch.cache import cache_root

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Container = Literal["zip", "legacy", "safetensors", "tar", "pickle", "unknown"]
"""Kinds of files: what torch.save writes since version 1.6, and before; safetensors; others that occur."""

PACKAGE_FILES = Path(__file__).resolve().parents[1] / "embedded"

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""What files begin with that torch.save wrote before version 1.6: a pickle of this number."""

_LEGACY_HEAD = b"\x8a\n" + LEGACY_MAGIC.to_bytes(10, "little")
"""The number as pickles spell it, after the protocol and perhaps the length of a frame."""

_TAR_MAGIC = slice(257, 262)


class FileBytes:
    """The bytes of a regular file.

    Files of the store and of the package are replaced, never rewritten, so they are mapped. Any other can be cut or
    rewritten by its owner while it is in use, which would kill the process or change weights under it: such a file
    is read into memory once.

    Args:
        path: the file.

    Attributes:
        path: the file.
        view: its bytes.

    Raises:
        CheckpointError: it is no regular file (a pipe would be waited for, a device has no end), it is empty, it
            cannot be read, or it is being cut.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._memory = _read(path)
        self.view = memoryview(self._memory)

    def container(self) -> Container:
        """The kind of container, by the first bytes."""
        head = bytes(self.view[:512])
        if head.startswith(b"PK\3\4"):
            return "zip"
        if _LEGACY_HEAD in head[:32]:
            return "legacy"
        # safetensors: the length of the header, little-endian, and the header, which is a JSON object
        length = int.from_bytes(head[:8], "little")
        if len(head) > 8 and head[8] == ord("{") and length <= len(self.view) - 8:
            return "safetensors"
        if head[_TAR_MAGIC] == b"ustar":
            return "tar"
        return "pickle" if head[0] == 0x80 and head[1:2] in (b"\2", b"\3", b"\4", b"\5") else "unknown"

    def values(self, dtype: torch.dtype, begin: int, count: int) -> Tensor:
        """Numbers that lie in the file, without a copy where their place allows it. (count,)

        Args:
            dtype: their type.
            begin: place of the first, in bytes.
            count: how many, at least one; all of them within the file.
        """
        import torch

        if begin % dtype.itemsize == 0:
            return torch.frombuffer(self._memory, dtype=dtype, offset=begin, count=count)
        return torch.frombuffer(bytearray(self.view[begin : begin + count * dtype.itemsize]), dtype=dtype)


def _read(path: Path) -> mmap.mmap:
    """A file's bytes as private memory, which the caller may write to without changing the file."""
    try:
        # opened without waiting, as a pipe without a writer would make us
        with io.FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _unusable(path, "it is not a regular file")
            if not status.st_size:
                raise _unusable(path, "damaged, truncated or not a torch checkpoint (the file is empty)")
            if any(path.resolve().is_relative_to(folder.resolve()) for folder in (cache_root(), PACKAGE_FILES)):
                return mmap.mmap(file.fileno(), status.st_size, access=mmap.ACCESS_COPY)
            return _copy(path, file, status.st_size)
    except OSError as error:
        raise _unusable(path, f"it cannot be read: {error.strerror or error}") from None


def _copy(path: Path, file: io.FileIO, size: int) -> mmap.mmap:
    """A file's bytes in memory of their own."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):  # a third of the time of small pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    with memoryview(memory) as view:
        done = 0
        while done < size:
            count = file.readinto(view[done:])
            if not count:
                raise _unusable(path, f"it was cut to {done:,} of {size:,} bytes while it was read")
            done += count
    return memory


def _unusable(path: Path, problem: str) -> CheckpointError:
    return CheckpointError(f"{path}: {problem}", next_step="check the file given as checkpoint.path, or fetch it again")
