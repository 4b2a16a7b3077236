"""Weights that are no numbers, found when a file is loaded: a network with one finds nothing, and measures as AP 0."""

from __future__ import annotations

import cmath
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

MAX_LISTED = 5
"""Keys that the error lists; the rest is counted."""


def refuse_non_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse parameters and buffers with NaN or infinite values.

    Raises:
        CheckpointError: naming their keys, and how many values.
    """
    import torch

    found = {}
    seen: dict[tuple[int, tuple[int, ...], tuple[int, ...]], bool] = {}
    for key, tensor in tensors.items():
        if not (tensor.is_floating_point() or tensor.is_complex()):
            continue
        place = tensor.data_ptr(), tuple(tensor.shape), tensor.stride()
        if place not in seen:
            seen[place] = is_finite(tensor)
        if not seen[place]:
            found[key] = int(tensor.numel() - torch.isfinite(tensor).sum())
    if found:
        listed = ", ".join(f"{key} ({found[key]:,} of {tensors[key].numel():,})" for key in list(found)[:MAX_LISTED])
        rest = f" and {len(found) - MAX_LISTED:,} more" if len(found) > MAX_LISTED else ""
        total = sum(found.values())
        message = f"{path}: {total:,} value{' is' if total == 1 else 's are'} NaN or infinite, in {listed}{rest}"
        raise CheckpointError(message, next_step="take the checkpoint of an earlier step, before the training diverged")


def is_finite(tensor: Tensor) -> bool:
    """Whether all values of a tensor are finite."""
    # Their sum is not if one is not, and is a fraction of the work of asking each.
    import torch

    # half precision overflows where the sum of finite values would not
    wide = torch.float32 if tensor.dtype in (torch.float16, torch.bfloat16) else tensor.dtype
    return cmath.isfinite(tensor.sum(dtype=wide).item()) or bool(torch.isfinite(tensor).all())
