"""safetensors files: the length of a header, the header (a JSON object), and raw values. Nothing could be executed.

Written after the format's description (https://github.com/huggingface/safetensors), whose own reader maps every file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from zoo.checkpoints.containers.file_bytes import FileBytes
from zoo.checkpoints.containers.torch_file import MAX_DIMS
from zoo.checkpoints.contents import Contents, without_wrappers
from zoo.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
"""The format's names of the types that weights and counters have."""

MAX_HEADER = 1 << 24
"""Bytes of a header; the format allows some more, and large networks have 100,000."""

METADATA = "__metadata__"


def read(path: Path) -> Contents:
    """The tensors of a file.

    Raises:
        CheckpointError: damaged, truncated, or no safetensors file.
    """
    return tensors_of(FileBytes(path))


def tensors_of(source: FileBytes) -> Contents:
    """The tensors of a file whose bytes are there already. Raises as `read` does."""
    try:
        begin, header = _header(source)
        tensors = _tensors(source, begin, header)
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        message = f"{source.path}: damaged, truncated or not a safetensors file ({error})"
        next_step = "fetch it again, or check the file given as checkpoint.path"
        raise CheckpointError(message, next_step=next_step) from None
    if not tensors:
        message = f"{source.path}: holds no tensors"
        raise CheckpointError(message, next_step="check that this is the entry's checkpoint")
    plain, changed = without_wrappers(tensors)
    return Contents(plain, changed=changed)


def _header(source: FileBytes) -> tuple[int, Mapping[str, Any]]:
    """Where the values begin, and the header: name -> type, shape and place."""
    length = int.from_bytes(source.view[:8], "little")
    if len(source.view) < 8 or length > min(MAX_HEADER, len(source.view) - 8):
        raise ValueError(f"a header of {length:,} bytes in a file of {len(source.view):,}")
    header = json.loads(source.view[8 : 8 + length].tobytes().decode("utf-8"), object_pairs_hook=_distinct)
    if not isinstance(header, dict):
        raise TypeError("its header is no object")
    return 8 + length, header


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose names are there once."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is in its header twice")
    return found


def _tensors(source: FileBytes, begin: int, header: Mapping[str, Any]) -> dict[str, Tensor]:
    """All tensors in the header's order; their places follow each other without a gap and fill the file."""
    import torch

    tensors: dict[str, Tensor] = {}
    places = []
    for name, described in header.items():
        if name == METADATA:
            continue
        if not isinstance(described, dict):
            raise TypeError(f"{name} is not described by an object")
        if described.get("dtype") not in DTYPES:
            raise ValueError(f"{name} is of type {str(described.get('dtype'))[:20]!r}, which no network here has")
        dtype = getattr(torch, DTYPES[described["dtype"]])
        shape, first, last = _place(name, described)
        count = math.prod(shape)
        if last - first != count * dtype.itemsize or last > len(source.view) - begin:
            raise ValueError(f"{name} of shape {shape} does not lie at {first} to {last}")
        places.append((first, last))
        flat = source.values(dtype, begin + first, count) if count else torch.empty(0, dtype=dtype)
        tensors[name] = flat.reshape(shape)
    end = 0
    for first, last in sorted(places):
        if first != end:
            raise ValueError(f"a gap or an overlap at byte {end:,} of its values")
        end = last
    if end != len(source.view) - begin:
        raise ValueError(f"{len(source.view) - begin - end:,} bytes belong to no tensor")
    return tensors


def _place(name: str, described: Mapping[str, Any]) -> tuple[list[int], int, int]:
    """The shape of a tensor, and where it begins and ends behind the header."""
    shape, place = described.get("shape"), described.get("data_offsets")
    if not (_are_counts(shape) and _are_counts(place)) or len(place) != 2 or len(shape) > MAX_DIMS:
        raise ValueError(f"{name} has no shape or no place")
    return shape, place[0], place[1]


def _are_counts(numbers: Any) -> TypeGuard[list[int]]:
    return isinstance(numbers, list) and all(type(n) is int and 0 <= n < 2**63 for n in numbers)
