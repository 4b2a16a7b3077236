"""torch.save files of faster-rcnn.pytorch: the state dict as `model`, and beside it how it was trained.

What stands there decides about the network: of another pooling, or of one box for all classes, it is another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from zoo.checkpoints.containers.torch_file import TorchFile, load_torch_file
from zoo.checkpoints.contents import Contents
from zoo.checkpoints.readers import pth
from zoo.errors import CheckpointError

KEPT = {"pooling_mode": "align", "class_agnostic": False}
"""What a file says of the network that is built here; older files do not say it."""


def read(path: Path) -> Contents:
    """The state dict of a file.

    Raises:
        CheckpointError: damaged, truncated, without a state dict, or of a network that is not built here.
        UnsafePickleError: the file asks for code that is not allowed.
    """
    return state_dict_of(load_torch_file(path))


def state_dict_of(file: TorchFile) -> Contents:
    """The state dict of a file that is read already. Raises as `read` does."""
    content = file.content
    for name, value in KEPT.items() if isinstance(content, Mapping) else ():
        found = content.get(name, value)
        if found != value:
            message = f"{file.path}: a network with {name} {found!r}, where the entry's has {value!r}"
            raise CheckpointError(message, next_step=f"give a file that was trained with {name} {value!r}")
    return pth.state_dict_of(file)
