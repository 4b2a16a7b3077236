"""torch.save files (.pth), zip or of before torch 1.6: a state dict, or a dict that holds one.

Such a dict is a published file, with its weights as `state_dict`, or a checkpoint of a training of this code's own,
of which the averaged weights are taken where there are any.

Published files carry, beside the weights, what their training framework left there: configuration
objects, numpy scalars, paths. torch's weights-only unpickler refuses the whole file for them; ours
(`zoo.checkpoints.readers.unpickling`) turns them into inert objects.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.checkpoints.contents import CLASSES, Contents, class_names
from zoo.checkpoints.readers.unpickling import RestrictedUnpickler, damaged, is_archive, load_archive
from zoo.errors import CheckpointError, UnsafePickleError


def _restricted_load(file: Any, **kwargs: Any) -> Any:
    return RestrictedUnpickler(file, **kwargs).load()


# What torch.load takes as `pickle_module`: a namespace with an Unpickler and a load.
RESTRICTED_PICKLE = types.SimpleNamespace(
    __name__="restricted_pickle", Unpickler=RestrictedUnpickler, load=_restricted_load
)


def read(path: Path) -> Contents:
    """The state dict of a file; of a zip file the tensors are mapped, not copied.

    Raises:
        CheckpointError: damaged, truncated, or without a state dict.
        UnsafePickleError: the file asks for code that is not allowed.
    """
    content = _load(path)
    state = _state(content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not state:
        raise CheckpointError(f"{path}: holds no state dict", next_step="check that this is the entry's checkpoint")
    strangers = [str(key) for key, value in state.items() if not isinstance(value, Tensor)]
    if strangers:
        message = f"{path}: its state dict holds values that are no tensors: {', '.join(strangers[:5])}"
        raise CheckpointError(message, next_step="check that this is the entry's checkpoint")
    return Contents({str(key): value.detach() for key, value in state.items()}, _classes(content, state))


def _state(content: Mapping[Any, Any]) -> Any:
    """The state dict in a file's outermost mapping."""
    if isinstance(content.get("model"), Mapping) and isinstance(content.get("optimizer"), Mapping):
        average = content.get("ema")
        return average.get("tensors") if isinstance(average, Mapping) else content["model"]
    return content.get("state_dict", content)


def _classes(content: Mapping[Any, Any], state: Mapping[Any, Any]) -> tuple[str, ...] | None:
    """The class list that goes along: as mmdetection 2 and 3 have it, or as a training of this code's own has it."""
    meta = content.get("meta")
    if isinstance(meta, Mapping):
        described = meta.get("dataset_meta")
        found = described.get("classes") or described.get("CLASSES") if isinstance(described, Mapping) else None
        return class_names(found or meta.get("CLASSES"))
    return class_names(getattr(state, CLASSES, None) or content.get(CLASSES))


def _load(path: Path) -> Any:
    try:
        if is_archive(path):
            return load_archive(path, RestrictedUnpickler)
        return torch.load(path, weights_only=False, pickle_module=RESTRICTED_PICKLE, map_location="cpu")
    except UnsafePickleError as error:
        raise UnsafePickleError(f"{path}: {error.message}", next_step=error.next_step) from None
    except Exception as error:  # bytes that are no checkpoint can fail in any way the unpickler knows
        raise damaged(path, error) from error
