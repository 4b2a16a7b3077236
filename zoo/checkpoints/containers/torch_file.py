"""Files of torch.save: a zip archive, or before version 1.6 five pickles and the values after them."""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.checkpoints.containers.allowed import STORAGES
from zoo.checkpoints.containers.file_bytes import LEGACY_MAGIC, FileBytes
from zoo.checkpoints.containers.machine import PickleError, PickleMachine
from zoo.checkpoints.containers.plain import Global, StoredTensor, StoredValues
from zoo.errors import CheckpointError, UnsafePickleError, ZooError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
"""torch's names for the type of values that lie together."""

MAX_DIMS = 64
"""Dimensions of a tensor; torch has no more."""

MAX_SHARING = 64
"""How many tensors may share their values on the average: tied heads of many stages share theirs six times."""

PROTOCOL_VERSION = 1001
"""What follows the magic number in files of before version 1.6."""

MAX_DIRECTORY = 1 << 24
"""Bytes of an archive's directory; that of a large network has 100,000."""

_LOCAL_HEADER = struct.Struct("<4s2xHH16xHH")
"""Of a zip record: signature, flags, compression, lengths of the name and of the extra field."""

_COUNT = struct.Struct("<q")


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a file, in bytes."""

    begin: int
    size: int


class TorchFile:
    """What torch.save put into a file.

    Attributes:
        path: the file.
        content: the object, as plain data (`zoo.checkpoints.containers.plain`).
    """

    def __init__(self, source: FileBytes, content: Any, spans: Mapping[str, Span]) -> None:
        self.path = source.path
        self.content = content
        self._source = source
        self._spans = spans
        self._values: dict[StoredValues, Tensor] = {}

    def tensors(self, state: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
        """The tensors of a state dict, of memory that lies in the file where that is mapped.

        Raises:
            CheckpointError: one does not fit the values that are there.
        """
        try:
            tensors = {key: self._tensor(stored) for key, stored in state.items()}
        except (PickleError, ValueError, TypeError, RuntimeError, OverflowError) as error:
            raise damaged(self.path, error) from None
        total, there = sum(map(_size, tensors.values())), sum(map(_size, self._values.values()))
        if total > MAX_SHARING * there:
            raise damaged(self.path, PickleError(f"{len(tensors):,} tensors of the same values"))
        return tensors

    def _tensor(self, stored: StoredTensor) -> Tensor:
        """One tensor, if it lies within its values and has no more than these."""
        import torch

        values, size, stride = stored.values, stored.size, stored.stride
        if not isinstance(values, StoredValues) or not (isinstance(size, tuple) and isinstance(stride, tuple)):
            raise PickleError("a tensor without values or shape")
        numbers = (stored.offset, *size, *stride)
        if len(size) != len(stride) or len(size) > MAX_DIMS:
            raise PickleError(f"a tensor of {len(size)} and {len(stride)} dimensions")
        if any(type(number) is not int or number < 0 for number in numbers):
            raise PickleError("a tensor whose place or shape is no whole number")
        shared = self._values.get(values)
        if shared is None:
            shared = self._values[values] = self._stored(values)
        count = math.prod(size)
        if not count:
            return torch.empty(size, dtype=shared.dtype)
        last = stored.offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if last >= values.count or count > values.count:
            raise PickleError(f"a tensor of {count:,} values up to number {last:,}, where {values.count:,} are stored")
        return torch.as_strided(shared, size, stride, stored.offset)

    def _stored(self, values: StoredValues) -> Tensor:
        """The values that tensors share. (N,)"""
        import torch

        dtype = dtype_of(values.kind)
        if not values.count:
            return torch.empty(0, dtype=dtype)
        begin = self._spans[values.key].begin + values.begin * dtype.itemsize
        return self._source.values(dtype, begin, values.count)


def load_torch_file(path: Path, source: FileBytes | None = None) -> TorchFile:
    """Read a file that torch.save wrote. Nothing of it is executed.

    Args:
        path: the file.
        source: its bytes, if they are there already.

    Raises:
        CheckpointError: it is damaged, cut or of another kind.
        UnsafePickleError: it asks for something that no training leaves in a file.
    """
    source = source or FileBytes(path)
    container = source.container()
    try:
        if container == "zip":
            return _load_archive(source)
        if container == "legacy":
            return _load_legacy(source)
    except UnsafePickleError as error:
        raise UnsafePickleError(f"{path}: {error.message}", next_step=error.next_step) from None
    except ZooError:
        raise
    except Exception as error:  # bytes that are no checkpoint can fail in any way that their readers know
        raise damaged(path, error) from error
    raise CheckpointError(f"{path}: not a torch checkpoint ({_OTHER[container]})", next_step=_NEXT_STEPS[container])


_OTHER = {
    "safetensors": "a safetensors file",
    "tar": "a tar archive",
    "pickle": "a pickle that torch.save did not write",
    "unknown": "damaged, truncated or of another kind, by its first bytes",
}
_CHECK = "fetch it again, or check the file given as checkpoint.path"
_NEXT_STEPS = {
    "safetensors": _CHECK,
    "tar": "unpack it, and give the checkpoint in it with checkpoint.path=FILE",
    "pickle": "save the weights with torch.save(model.state_dict(), FILE)",
    "unknown": _CHECK,
}


def damaged(path: Path, error: Exception) -> CheckpointError:
    """The error for bytes that are no checkpoint, or only a part of one."""
    what = str(error) if isinstance(error, PickleError) else f"{type(error).__name__}: {error}"
    return CheckpointError(f"{path}: damaged, truncated or not a torch checkpoint ({what})", next_step=_CHECK)


def dtype_of(kind: str) -> torch.dtype:
    """The type of stored values by torch's name of it."""
    import torch

    if kind not in DTYPES:
        raise PickleError(f"values of type {kind}")
    dtype: torch.dtype = getattr(torch, DTYPES[kind])
    return dtype


# --- zip ------------------------------------------------------------------------------------------


def _load_archive(source: FileBytes) -> TorchFile:
    """One pickle, and a record for all values that lie together. Nothing may be compressed: sizes are what is there."""
    spans = _records(source)
    pickles = [name for name in spans if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise PickleError(f"{len(pickles)} records named data.pkl")
    prefix = pickles[0].removesuffix("data.pkl")
    if f"{prefix}constants.pkl" in spans:
        message = f"{source.path}: a TorchScript program, not a state dict"
        raise CheckpointError(message, next_step="save the weights with torch.save(model.state_dict(), FILE)")
    order = spans.get(f"{prefix}byteorder")
    if order is not None and _part(source, order).tobytes() != b"little":
        raise PickleError("another byte order")
    records: dict[str, Span] = {}

    def persistent(description: Any) -> StoredValues:
        kind, key, count = _values_of(description, fields=5)
        record = spans[f"{prefix}data/{key}"]
        if record.size != count * dtype_of(kind).itemsize:
            raise PickleError(f"values {key} have {record.size:,} bytes instead of {count:,} numbers of {kind}")
        records[key] = record
        return StoredValues(kind, key, count)

    content = PickleMachine(_part(source, spans[pickles[0]]), persistent=persistent).load()
    return TorchFile(source, content, records)


def _records(source: FileBytes) -> dict[str, Span]:
    """The records of an archive, whose directory and headers agree and which share no byte."""
    with zipfile.ZipFile(_Seekable(source.view)) as archive:
        directory = archive.infolist()
    spans: dict[str, Span] = {}
    end = 0
    for info in sorted(directory, key=lambda info: info.header_offset):
        header = _LOCAL_HEADER.unpack_from(source.view, info.header_offset)
        signature, flags, compression, name_length, extra_length = header
        begin = info.header_offset + _LOCAL_HEADER.size + name_length + extra_length
        if signature != b"PK\3\4" or info.header_offset < end:
            raise zipfile.BadZipFile(f"{info.filename} is not where the directory says")
        if (compression or info.compress_type) != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise zipfile.BadZipFile(f"{info.filename} is compressed")
        if (flags | info.flag_bits) & 1:
            raise zipfile.BadZipFile(f"{info.filename} is encrypted")
        end = begin + info.file_size
        if end > len(source.view):
            raise zipfile.BadZipFile(f"{info.filename} is cut off")
        if info.filename in spans:
            raise zipfile.BadZipFile(f"{info.filename} is there twice")
        spans[info.filename] = Span(begin, info.file_size)
    return spans


class _Seekable:
    """Bytes as the file that zipfile reads its directory from, without a copy."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._at = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, len(self._view))[whence]
        if self._at < 0:
            raise OSError("before the beginning")
        return self._at

    def tell(self) -> int:
        return self._at

    def seekable(self) -> bool:
        return True

    def read(self, count: int = -1) -> bytes:
        if count > MAX_DIRECTORY:
            raise zipfile.BadZipFile(f"a directory of {count:,} bytes")
        end = len(self._view) if count < 0 else self._at + count
        part = self._view[self._at : end].tobytes()
        self._at += len(part)
        return part


def _part(source: FileBytes, span: Span) -> memoryview:
    return source.view[span.begin : span.begin + span.size]


# --- before version 1.6 ---------------------------------------------------------------------------


def _load_legacy(source: FileBytes) -> TorchFile:
    """The magic number, the protocol, the machine's types, the object, the keys of its values; then the values."""
    declared: dict[str, StoredValues] = {}

    def persistent(description: Any) -> StoredValues | Global:
        if isinstance(description, tuple) and description[:1] == ("module",) and len(description) == 4:
            described: Global = description[1]  # a class, with its source code
            return described
        kind, key, count = _values_of(description, fields=6)
        known = declared.setdefault(key, StoredValues(kind, key, count))
        if (known.kind, known.count) != (kind, count):
            raise PickleError(f"values {key} are declared twice")
        return _part_of(known, description[5])

    machine = PickleMachine(source.view, persistent=persistent)
    if machine.load() != LEGACY_MAGIC or machine.load() != PROTOCOL_VERSION:
        raise PickleError("not the numbers that such a file begins with")
    types = machine.load()
    if not isinstance(types, dict) or types.get("little_endian") is not True:
        raise PickleError("another byte order")
    content, keys = machine.load(), machine.load()
    return TorchFile(source, content, _legacy_spans(source, declared, keys, machine.position))


def _legacy_spans(source: FileBytes, declared: Mapping[str, StoredValues], keys: Any, begin: int) -> dict[str, Span]:
    """Where the values lie, each after their count."""
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise PickleError("the keys of the values are no list of names")
    spans: dict[str, Span] = {}
    for key in keys:
        values = declared[key]
        size = values.count * dtype_of(values.kind).itemsize
        (count,) = _COUNT.unpack_from(source.view, begin)
        begin += _COUNT.size
        if count != values.count or key in spans:
            raise PickleError(f"values {key}: {count:,} numbers instead of {values.count:,}, or there twice")
        if size > len(source.view) - begin:
            raise PickleError(f"values {key} are cut off")
        spans[key] = Span(begin, size)
        begin += size
    if len(spans) < len(declared):
        raise PickleError(f"{len(declared) - len(spans)} of {len(declared)} records of values are missing")
    return spans


def _part_of(values: StoredValues, view: Any) -> StoredValues:
    """Values, or the part of them that very old files say: its key, where it begins, and its length."""
    if view is None:
        return values
    _, begin, count = view
    if not (_is_count(begin) and _is_count(count)) or begin + count > values.count:
        raise PickleError(f"a part of values {values.key} that is not there")
    return StoredValues(values.kind, values.key, count, begin)


def _values_of(description: Any, *, fields: int) -> tuple[str, str, int]:
    """Type, key and number of stored values, as torch.save describes them to the pickle."""
    if not isinstance(description, tuple) or len(description) != fields or description[0] != "storage":
        raise PickleError("an object that lies outside and holds no values")
    _, kind, key, _, count = description[:5]
    if not (isinstance(kind, Global) and kind.module in STORAGES and isinstance(key, str) and _is_count(count)):
        raise PickleError("values without a type, a key or a number")
    return kind.name, key, count


def _is_count(number: Any) -> bool:
    return type(number) is int and number >= 0


def _size(tensor: Tensor) -> int:
    return tensor.numel()
