"""PaddleDetection's files: .pdparams of both of Paddle's programs, and the .tar archives of the older one.

A .pdparams is a pickle of one mapping of names to numpy arrays. An archive holds a .pdparams, or a file for each
variable; nothing is extracted from it.
"""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.checkpoints.containers.file_bytes import FileBytes
from zoo.checkpoints.containers.machine import PickleError, PickleMachine
from zoo.checkpoints.containers.numpy_arrays import is_array, tensor_of
from zoo.checkpoints.containers.paddle_variable import is_variable, read_variable
from zoo.checkpoints.contents import NO_WEIGHTS, Contents
from zoo.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

NAMES = "StructuredToParameterName@@"
"""Key of a table of the program's own names."""

CUT = "UnpackBigParamInfor@@"
"""Key of a table of the arrays that were too long for a pickle: their shapes, and the names of their pieces."""

OF_THE_OPTIMIZER = (".pdopt", ".pdmodel")
"""Endings of what lies in an archive beside the weights."""

MAX_MEMBERS = 10_000


def read(path: Path) -> Contents:
    """The tensors of a file.

    Raises:
        CheckpointError: damaged, truncated, or without weights.
        UnsafePickleError: the file asks for code that is not allowed.
    """
    source = FileBytes(path)
    container = source.container()
    try:
        if container == "tar":
            return _read_archive(path, source)
        if container == "pickle":
            return _read_pickle(source.view)
    except (PickleError, ValueError, TypeError, LookupError, struct.error, tarfile.TarError) as error:
        message = f"{path}: damaged, truncated or not a file of Paddle ({error})"
        raise CheckpointError(message, next_step="fetch it again, or give a whole file with checkpoint.path") from None
    raise CheckpointError(
        f"{path}: neither a .pdparams nor a .tar of Paddle, by its first bytes",
        next_step="check that this is the entry's checkpoint",
    )


def _read_pickle(program: memoryview) -> Contents:
    """The arrays in the mapping of a pickle; raises what `PickleMachine.load` raises."""
    content = PickleMachine(program).load()
    if not isinstance(content, Mapping):
        raise PickleError(f"a {type(content).__name__} where a mapping of names to arrays should be")
    arrays, others = _arrays(content)
    if not arrays and isinstance(content.get("model"), Mapping):  # a checkpoint of a training
        others = [str(key) for key in content if key != "model"]
        arrays, beside = _arrays(content["model"])
        content, others = content["model"], others + beside
    if not arrays:
        raise PickleError("no array")
    tensors = _joined({name: tensor_of(array) for name, array in arrays.items()}, content.get(CUT))
    return Contents(tensors, dropped={NO_WEIGHTS: others} if others else {})


def _arrays(content: Mapping[Any, Any]) -> tuple[dict[str, Any], list[str]]:
    """The arrays of a mapping by name, and the keys of everything else."""
    arrays, others = {}, []
    for name, value in content.items():
        # in mappings within others some versions write (name in the program, array)
        array = value[1] if isinstance(value, tuple) and len(value) == 2 else value
        if isinstance(name, str) and is_array(array):
            arrays[name] = array
        elif name != CUT:
            others.append(str(name)[:200])
    return arrays, others


def _joined(tensors: dict[str, Tensor], cut: Any) -> dict[str, Tensor]:
    """The tensors with those put together that were cut into pieces."""
    import torch

    if cut is None:
        return tensors
    if not isinstance(cut, Mapping):
        raise PickleError(f"{CUT} is no table")
    for name, described in cut.items():
        pieces = described.get("slices") if isinstance(described, Mapping) else None
        shape = described.get("OriginShape") if isinstance(described, Mapping) else None
        if not isinstance(name, str) or not isinstance(pieces, list) or not isinstance(shape, tuple | list):
            raise PickleError(f"{CUT} does not say what {str(name)[:80]} is made of")
        tensors[name] = torch.cat([tensors.pop(piece).flatten() for piece in pieces]).reshape(tuple(shape))
    return tensors


def _read_archive(path: Path, source: FileBytes) -> Contents:
    """The weights of an archive; raises what reading its members raises."""
    tensors: dict[str, Tensor] = {}
    beside: list[str] = []
    for name, content in _members(source):
        if name.endswith(".pdparams"):
            found = _read_pickle(content)
            return Contents(found.tensors, dropped=found.dropped)
        if name.endswith(OF_THE_OPTIMIZER) or not is_variable(content):
            beside.append(name)
        elif name in tensors:
            raise PickleError(f"two members are called {name!r}")
        else:
            tensors[name] = read_variable(content)
    if not tensors:
        message = f"{path}: an archive without weights of Paddle"
        raise CheckpointError(message, next_step="check that this is the entry's checkpoint")
    return Contents(tensors, dropped={NO_WEIGHTS: beside} if beside else {})


def _members(source: FileBytes) -> Iterator[tuple[str, memoryview]]:
    """The last part of the name of every file in an archive, and its bytes.

    Raises:
        PickleError: a member is a link or a device, or lies beyond the archive.
        tarfile.TarError: it is no archive.
    """
    with tarfile.open(fileobj=_View(source.view), mode="r:") as archive:
        for count, member in enumerate(archive):
            if count >= MAX_MEMBERS:
                raise PickleError(f"more than {MAX_MEMBERS:,} members")
            if member.isdir():
                continue
            if not member.isreg() or member.issparse():
                raise PickleError(f"the member {member.name[:80]!r} is a link, a device or sparse")
            if ".." in Path(member.name).parts or member.name.startswith("/"):
                raise PickleError(f"the member {member.name[:80]!r} leaves the folder")
            end = member.offset_data + member.size
            if member.size < 0 or end > len(source.view):
                raise PickleError(f"the member {member.name[:80]!r} has {member.size:,} bytes, more than there are")
            yield Path(member.name).name, source.view[member.offset_data : end]


class _View(io.RawIOBase):
    """A view as a file that can be read, without a copy of the whole."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The place of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; see `io.IOBase.seek`."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._view)}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes; see `io.RawIOBase.readinto`."""
        piece = self._view[self._at : self._at + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)
