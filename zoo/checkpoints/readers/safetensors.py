"""safetensors files: a header and raw tensors, nothing that could be executed."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from zoo.checkpoints.contents import Contents
from zoo.errors import CheckpointError


def read(path: Path) -> Contents:
    """The tensors of a file, mapped, not copied.

    Raises:
        CheckpointError: damaged, truncated, or no safetensors file.
    """
    try:
        return Contents(load_file(path))
    except (SafetensorError, OSError) as error:
        message = f"{path}: damaged, truncated or not a safetensors file ({error})"
        next_step = "fetch it again, or check the file given as checkpoint.path"
        raise CheckpointError(message, next_step=next_step) from None
