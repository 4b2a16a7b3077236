"""Unpickling without executing anything, and the zip archives that torch.save writes.

A pickle is a program: it names functions and calls them. The unpickler here knows a handful of
functions, those that rebuild tensors and plain containers. Everything else that a published file
names becomes inert, where its package is one that is known to leave objects beside the weights, or
the whole file is refused.
"""

from __future__ import annotations

import collections
import copyreg
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import torch
from torch.storage import TypedStorage, UntypedStorage

from zoo.errors import CheckpointError, UnsafePickleError


class Allowed:
    """A function that may be called while a file is read. A pickle can change nothing about it, as it could a def."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise pickle.UnpicklingError(f"sets {name} of a function")


def _bytes(text: str, encoding: str) -> bytes:
    """How old pickles spell a bytes object; any other encoding is refused."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in encoding {encoding!r}")
    return text.encode("latin1")


REBUILD: Mapping[tuple[str, str], Any] = {
    ("_codecs", "encode"): Allowed(_bytes),
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): Allowed(torch._utils._rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): Allowed(torch._utils._rebuild_tensor_v2),
    ("torch._utils", "_rebuild_parameter"): Allowed(torch._utils._rebuild_parameter),
    ("torch", "device"): torch.device,
    ("torch", "Size"): torch.Size,
}
"""Everything that may be called while a file is read."""

METADATA = ("addict", "argparse", "datetime", "mmcv", "mmdet", "mmengine", "numpy", "pathlib", "yapf")
"""Top-level packages whose objects occur beside the weights of published files; each becomes inert."""

DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
"""torch's names for the type of a storage."""


_LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Of a zip record: its signature, and the lengths of the name and the extra field, after which the bytes begin."""


class _Sealed(type):
    """A class that a pickle cannot change: what it would set would outlive the file."""

    def __setattr__(cls, name: str, value: Any) -> NoReturn:
        raise pickle.UnpicklingError(f"sets {name} of a class")


class Inert(metaclass=_Sealed):
    """Stands for an object of a class that is not on the allow-list. It holds nothing and does nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, item: Any) -> None: ...

    def extend(self, items: Any) -> None: ...


class RestrictedUnpickler(pickle.Unpickler):
    """Resolves a global only where it is on the allow-list."""

    def load(self) -> Any:
        """The object of the next pickle in the file."""
        # Numbers of the extension registry that were used before are answered from a cache, past find_class.
        copyreg.clear_extension_cache()
        return super().load()

    def find_class(self, module: str, name: str) -> Any:
        """The allowed callable, an inert class for known metadata.

        Raises:
            UnsafePickleError: any other global; nothing of it is imported.
        """
        if (module, name) in REBUILD:
            return REBUILD[module, name]
        if module.split(".")[0] in METADATA:
            return Inert
        raise refused(f"{module}.{name}")


def refused(what: str) -> UnsafePickleError:
    """The error for a file that asks for more than is allowed."""
    return UnsafePickleError(
        f"the file asks for {what}, which is not on the allow-list; nothing was executed",
        next_step="do not trust this file; fetch the published checkpoint again",
    )


def damaged(path: Path, error: Exception) -> CheckpointError:
    """The error for bytes that are no checkpoint, or only a part of one."""
    message = f"{path}: damaged, truncated or not a torch checkpoint ({type(error).__name__}: {error})"
    return CheckpointError(message, next_step="fetch it again, or check the file given as checkpoint.path")


def is_archive(path: Path) -> bool:
    """Whether a file is a zip archive, whole or not."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\3\4" or zipfile.is_zipfile(file)


def load_archive(path: Path, unpickler: type[RestrictedUnpickler]) -> Any:
    """The object in a zip archive of torch.save: one pickle, and a record for each storage, mapped, not copied.

    Args:
        path: the file.
        unpickler: says what its pickle may name.

    Raises:
        UnsafePickleError: the pickle asks for code that is not allowed.
        Exception: of any kind, where the file is damaged or of another kind.
    """
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise pickle.UnpicklingError(f"{len(pickles)} records named data.pkl")
        prefix = pickles[0].removesuffix("data.pkl")
        byte_order = f"{prefix}byteorder"
        if byte_order in archive.namelist() and archive.read(byte_order) != b"little":
            raise pickle.UnpicklingError("another byte order")
        records = _Records(path, file, archive, f"{prefix}data/")

        class Unpickler(unpickler):  # type: ignore[misc,valid-type] # a class made for one archive
            def persistent_load(self, pid: Any) -> TypedStorage:
                return records.storage(*pid)

            def find_class(self, module: str, name: str) -> Any:
                return DTYPES[name] if module == "torch" and name in DTYPES else super().find_class(module, name)

        with archive.open(pickles[0]) as content:
            return Unpickler(content).load()


class _Records:
    """The storages of an archive, by key, as parts of the mapped file."""

    def __init__(self, path: Path, file: BinaryIO, archive: zipfile.ZipFile, prefix: str) -> None:
        self._file = file
        self._archive = archive
        self._prefix = prefix
        self._bytes = UntypedStorage.from_file(str(path), shared=False, nbytes=path.stat().st_size)
        self._storages: dict[str, UntypedStorage] = {}

    def storage(self, kind: str, dtype: torch.dtype, key: str, _location: str, count: int) -> TypedStorage:
        """The storage of a record, which must be as long as the pickle says."""
        if kind != "storage":
            raise pickle.UnpicklingError(f"a persistent {kind}")
        if key not in self._storages:
            self._storages[key] = self._record(f"{self._prefix}{key}")
        storage = self._storages[key]
        if storage.nbytes() != count * dtype.itemsize:
            raise pickle.UnpicklingError(f"storage {key} has {storage.nbytes()} bytes instead of {count} {dtype}")
        return TypedStorage(wrap_storage=storage, dtype=dtype, _internal=True)  # type: ignore[no-untyped-call]

    def _record(self, name: str) -> UntypedStorage:
        """The bytes of a record."""
        info = self._archive.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED:
            raise zipfile.BadZipFile(f"{name} is compressed")
        self._file.seek(info.header_offset)
        signature, name_length, extra_length = _LOCAL_HEADER.unpack(self._file.read(_LOCAL_HEADER.size))
        if signature != b"PK\3\4":
            raise zipfile.BadZipFile(f"{name} is not where the directory says")
        begin = info.header_offset + _LOCAL_HEADER.size + name_length + extra_length
        if begin + info.file_size > self._bytes.nbytes():
            raise zipfile.BadZipFile(f"{name} is cut off")
        part: UntypedStorage = self._bytes[begin : begin + info.file_size]
        return part
