"""Readers: one module per file format, each with `read(path) -> Contents`.

No reader executes anything a file asks for. A format of several files in one (a tar archive) gets a reader of its own
that extracts nothing: its members are parts of `FileBytes.view`.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.checkpoints.contents import Contents
from zoo.checkpoints.finite import refuse_non_finite
from zoo.errors import UsageError, closest

if TYPE_CHECKING:
    from torch import Tensor


def read(path: Path, format: str) -> dict[str, Tensor]:  # noqa: A002 - the entry's own word
    """The tensors of a checkpoint file by their original keys. Raises as `read_contents` does."""
    return read_contents(path, format).tensors


def read_contents(path: Path, format: str) -> Contents:  # noqa: A002 - the entry's own word
    """What a checkpoint file holds.

    Raises:
        UsageError: no reader of that name.
        CheckpointError: the file is damaged or of another format, or has weights that are no numbers.
        UnsafePickleError: the file asks for code that is not allowed.
    """
    formats = [module.name for module in pkgutil.iter_modules(__path__)]
    if format not in formats:
        raise UsageError(f"no reader for format {format!r} ({closest(format, formats)})", next_step="correct the entry")
    contents: Contents = importlib.import_module(f"{__name__}.{format}").read(path)
    refuse_non_finite(contents.tensors, path)
    return contents
