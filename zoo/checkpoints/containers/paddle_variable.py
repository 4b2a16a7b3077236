"""One variable in a file of its own, as Paddle's static graph saved it.

Little-endian: a version of 0 (uint32); the number of levels of detail (uint64), and for each its bytes (uint64) and
content; another version of 0 (uint32); the length of a description (int32) and that, a protocol buffer with the
type (field 1) and the dimensions (field 2, packed or not); then the values, to the end of the file.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

from zoo.checkpoints.containers.machine import PickleError
from zoo.checkpoints.containers.numpy_arrays import MAX_DIMENSIONS

if TYPE_CHECKING:
    from torch import Tensor

DTYPES = {
    0: "bool",
    1: "int16",
    2: "int32",
    3: "int64",
    4: "float16",
    5: "float32",
    6: "float64",
    20: "uint8",
    21: "int8",
}
"""Paddle's number of a type -> torch's name."""

_MAX_LEVELS = 16
_VARINT, _LENGTH_DELIMITED = 0, 2


def is_variable(content: memoryview) -> bool:
    """Whether bytes begin as a variable does."""
    return len(content) >= 16 and bytes(content[:4]) == b"\0\0\0\0"


def read_variable(content: memoryview) -> Tensor:
    """The tensor in the bytes of a file.

    Raises:
        PickleError: they are no variable, or cut off.
    """
    import torch

    try:
        description, begin = _description(content)
        kind, sizes = _fields(description)
    except (struct.error, IndexError):
        raise PickleError("a variable that is cut off") from None
    if kind not in DTYPES or len(sizes) > MAX_DIMENSIONS or any(side >= 2**40 for side in sizes):
        raise PickleError(f"a variable of type {kind} and dimensions {sizes[:MAX_DIMENSIONS]}")
    dtype = getattr(torch, DTYPES[kind])
    values = content[begin:]
    if len(values) != math.prod(sizes) * dtype.itemsize:
        raise PickleError(f"{len(values):,} bytes for a variable of {sizes} {DTYPES[kind]}")
    flat = torch.frombuffer(bytearray(values), dtype=dtype) if len(values) else torch.empty(0, dtype=dtype)
    return flat.reshape(sizes)


def _description(content: memoryview) -> tuple[memoryview, int]:
    """The description of a variable, and where its values begin."""
    version, levels = struct.unpack_from("<IQ", content)
    if version or levels > _MAX_LEVELS:
        raise PickleError(f"a variable of version {version} with {levels} levels")
    at = 12
    for _ in range(levels):
        (length,) = struct.unpack_from("<Q", content, at)
        at += 8 + length
    version, length = struct.unpack_from("<Ii", content, at)
    at += 8
    if version or not 0 <= length <= len(content) - at:
        raise PickleError("a variable without a description")
    return content[at : at + length], at + length


def _fields(description: memoryview) -> tuple[int, list[int]]:
    """The type and the dimensions in a description."""
    kind, sizes, at = -1, list[int](), 0
    while at < len(description):
        tag, at = _varint(description, at)
        if tag & 7 == _LENGTH_DELIMITED:
            length, at = _varint(description, at)
            end = at + length
            if end > len(description):
                raise PickleError("a description that is cut off")
            while tag >> 3 == 2 and at < end:
                size, at = _varint(description, at)
                sizes.append(size)
            at = end
        elif tag & 7 == _VARINT:
            value, at = _varint(description, at)
            if tag >> 3 == 1:
                kind = value
            elif tag >> 3 == 2:
                sizes.append(value)
        else:
            raise PickleError("a description that is no protocol buffer of its kind")
    return kind, sizes


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and the place behind it."""
    value = 0
    for i in range(10):
        byte = content[at + i]
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, at + i + 1
    raise PickleError("a number without an end")
