"""numpy arrays in a pickle: told by the names that rebuild them, and made of the bytes that are there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from zoo.checkpoints.containers.machine import PickleError
from zoo.checkpoints.containers.plain import Stub

if TYPE_CHECKING:
    from torch import Tensor

_RECONSTRUCT = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
"""How numpy below 2 names the function that makes an array, and how numpy from 2 on does."""

DTYPES = {
    "f4": "float32", "f8": "float64", "f2": "float16", "u2": "bfloat16", "i8": "int64", "i4": "int32", "i2": "int16",
    "i1": "int8", "u1": "uint8", "b1": "bool",
}  # fmt: skip
"""numpy's name of a type -> torch's. Paddle, which has no uint16, keeps bfloat16 as that."""

MAX_DIMENSIONS = 8


def is_array(value: Any) -> bool:
    """Whether a value of a pickle is an array."""
    return isinstance(value, Stub) and value.kind in _RECONSTRUCT


def tensor_of(array: Stub) -> Tensor:
    """The tensor of an array.

    Raises:
        PickleError: its shape, its type and its bytes do not belong together.
    """
    state = array.state
    if not isinstance(state, tuple) or len(state) != 5:
        raise PickleError("an array without a state")
    _, shape, dtype, by_columns, content = state
    if not isinstance(shape, tuple) or len(shape) > MAX_DIMENSIONS or not all(_is_size(side) for side in shape):
        raise PickleError(f"an array of the shape {str(shape)[:80]}")
    if isinstance(content, Stub) and content.kind.endswith(".bytes") and not content.args:
        content = b""  # as protocol 2 spells it
    if not isinstance(content, bytes):
        raise PickleError(f"an array of {type(content).__name__}")
    return _as_tensor(content, _dtype_name(dtype), tuple(shape), by_columns=bool(by_columns))


def _as_tensor(content: bytes, name: str, shape: tuple[int, ...], *, by_columns: bool) -> Tensor:
    import torch

    dtype = getattr(torch, name)
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise PickleError(f"{len(content):,} bytes for an array of {list(shape)} {name}")
    flat = torch.frombuffer(bytearray(content), dtype=dtype) if content else torch.empty(0, dtype=dtype)
    tensor = flat.reshape(shape[::-1]).permute(*range(len(shape))[::-1]) if by_columns else flat.reshape(shape)
    return tensor.contiguous()


def _dtype_name(dtype: Any) -> str:
    """torch's name of the type that a pickle describes as numpy does: ("f4", ...), and then its byte order."""
    if not isinstance(dtype, Stub) or dtype.kind != "numpy.dtype" or not dtype.args:
        raise PickleError("an array without a type")
    name = DTYPES.get(str(dtype.args[0]))
    order = dtype.state[1] if isinstance(dtype.state, tuple) and len(dtype.state) > 1 else "<"
    if name is None or order not in ("<", "|", "="):
        raise PickleError(f"an array of the type {str(dtype.args[0])[:20]!r}, byte order {str(order)[:4]!r}")
    return name


def _is_size(side: Any) -> bool:
    return isinstance(side, int) and not isinstance(side, bool) and 0 <= side < 2**40
