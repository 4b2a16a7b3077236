"""torch.save files (.pth), zip or of before torch 1.6: a state dict, or a dict that holds one as `state_dict`.

Published files carry, beside the weights, what their training framework left there: configuration
objects, numpy scalars, paths. torch's weights-only unpickler refuses the whole file for them; the one
here turns them into inert objects. It calls nothing but the rebuilding of tensors and plain
containers, whatever a file asks for.
"""

from __future__ import annotations

import collections
import pickle
import types
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.errors import CheckpointError, UnsafePickleError


def _bytes(text: str, encoding: str) -> bytes:
    """How old pickles spell a bytes object; any other encoding is refused."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in encoding {encoding!r}")
    return text.encode("latin1")


REBUILD = {
    ("_codecs", "encode"): _bytes,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch", "device"): torch.device,
    ("torch", "Size"): torch.Size,
}
"""Everything that may be called while a file is read."""

METADATA = ("addict", "argparse", "datetime", "mmcv", "mmdet", "mmengine", "numpy", "pathlib", "yapf")
"""Top-level packages whose objects occur beside the weights of published files; each becomes inert."""


class Inert:
    """Stands for an object of a class that is not on the allow-list. It holds nothing and does nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, item: Any) -> None: ...

    def extend(self, items: Any) -> None: ...


class RestrictedUnpickler(pickle.Unpickler):
    """Resolves a global only where it is on the allow-list."""

    def find_class(self, module: str, name: str) -> Any:
        """The allowed callable, an inert class for known metadata.

        Raises:
            UnsafePickleError: any other global; nothing of it is imported.
        """
        if (module, name) in REBUILD:
            return REBUILD[module, name]
        if module.split(".")[0] in METADATA:
            return Inert
        raise UnsafePickleError(
            f"the file asks for {module}.{name}, which is not on the allow-list; nothing was executed",
            next_step="do not trust this file; fetch the published checkpoint again",
        )


def _restricted_load(file: Any, **kwargs: Any) -> Any:
    return RestrictedUnpickler(file, **kwargs).load()


# What torch.load takes as `pickle_module`: a namespace with an Unpickler and a load.
RESTRICTED_PICKLE = types.SimpleNamespace(
    __name__="restricted_pickle", Unpickler=RestrictedUnpickler, load=_restricted_load
)


def read(path: Path) -> dict[str, Tensor]:
    """The state dict of a file; of a zip file the tensors are mapped, not copied.

    Raises:
        CheckpointError: damaged, truncated, or without a state dict.
        UnsafePickleError: the file asks for code that is not allowed.
    """
    content = _load(path)
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not state:
        raise CheckpointError(f"{path}: holds no state dict", next_step="check that this is the entry's checkpoint")
    strangers = [str(key) for key, value in state.items() if not isinstance(value, Tensor)]
    if strangers:
        message = f"{path}: its state dict holds values that are no tensors: {', '.join(strangers[:5])}"
        raise CheckpointError(message, next_step="check that this is the entry's checkpoint")
    return {str(key): value.detach() for key, value in state.items()}


def _load(path: Path) -> Any:
    # Files of before torch 1.6 are plain pickles, which cannot be mapped.
    options: dict[str, Any] = {"map_location": "cpu", "mmap": True if zipfile.is_zipfile(path) else None}
    try:
        return torch.load(path, weights_only=False, pickle_module=RESTRICTED_PICKLE, **options)
    except UnsafePickleError as error:
        raise UnsafePickleError(f"{path}: {error.message}", next_step=error.next_step) from None
    except Exception as error:
        # Bytes that are no checkpoint can fail in any way the unpickler knows.
        message = f"{path}: damaged, truncated or not a torch checkpoint ({type(error).__name__})"
        next_step = "fetch it again, or check the file given as checkpoint.path"
        raise CheckpointError(message, next_step=next_step) from error
