"""torch.save files (.pth), zip or of before torch 1.6: a state dict, or a dict that holds one.

Such a dict is a published file, with its weights as `state_dict`, or a checkpoint of a training: of mmengine or mmcv
(`state_dict`), of Lightning, or one that keeps its network as `model`, as this code's own and many scripts do; of the
latter the averaged weights are taken where there are any.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.checkpoints.containers.plain import Global, StoredTensor, Stub, attributes
from zoo.checkpoints.containers.torch_file import TorchFile, load_torch_file
from zoo.checkpoints.contents import (
    BEFORE_AVERAGING,
    CLASSES,
    NO_WEIGHTS,
    NOT_AVERAGED,
    Contents,
    class_names,
    without_average_copies,
    without_averaged_steps,
    without_wrappers,
)
from zoo.errors import CheckpointError

METADATA = ("meta", CLASSES)
"""What stands beside the weights and describes them."""


def read(path: Path) -> Contents:
    """The state dict of a file.

    Raises:
        CheckpointError: damaged, truncated, or without a state dict.
        UnsafePickleError: the file asks for code that is not allowed.
    """
    return state_dict_of(load_torch_file(path))


def state_dict_of(file: TorchFile) -> Contents:
    """The state dict of a file that is read already. Raises as `read` does."""
    content = file.content
    place, state = _find(content) if isinstance(content, Mapping) else ("", None)
    if not isinstance(state, Mapping) or not state:
        raise _not_this(file, f"holds no state dict{_described(content)}")
    if not all(isinstance(key, str) for key in state):
        raise _not_this(file, "its state dict has keys that are no text")
    strangers = [key for key, value in state.items() if not isinstance(value, StoredTensor)]
    if strangers:
        raise _not_this(file, f"its state dict holds values that are no tensors: {', '.join(strangers[:5])}")
    weights, steps = without_averaged_steps(state)
    plain, changed = without_wrappers(weights, lightning="pytorch-lightning_version" in content)
    plain, copies = without_average_copies(plain)
    dropped = {reason: keys for reason, keys in ((BEFORE_AVERAGING, copies), (NO_WEIGHTS, steps)) if keys}
    for key, value in content.items() if place else ():
        if isinstance(key, str) and key != place and key not in METADATA and value is not None:
            raw = {"ema_state_dict": BEFORE_AVERAGING}.get(key, NOT_AVERAGED if key == "model" else NO_WEIGHTS)
            dropped.setdefault(raw, []).append(key)
    return Contents(file.tensors(plain), _classes(content, state), dropped, changed)


def _find(content: Mapping[Any, Any]) -> tuple[str, Any]:
    """The state dict in a file's outermost mapping, with its place there; "" where it is the mapping itself."""
    if "state_dict" in content:
        return "state_dict", content["state_dict"]
    if not isinstance(content.get("model"), Mapping):
        return "", content
    average = content.get("ema")
    if isinstance(average, Mapping) and average:
        # this code's own training; RT-DETR's
        return "ema", average.get("tensors", average.get("module"))
    return (
        ("model_ema", content["model_ema"])
        if isinstance(content.get("model_ema"), Mapping)
        else ("model", content["model"])
    )


def _classes(content: Mapping[Any, Any], state: Mapping[Any, Any]) -> tuple[str, ...] | None:
    """The class list that goes along: as mmdetection 2 and 3 have it, or as a training of this code's own has it."""
    meta = content.get("meta")
    if isinstance(meta, Mapping):
        described = meta.get("dataset_meta")
        found = described.get("classes") or described.get("CLASSES") if isinstance(described, Mapping) else None
        return class_names(found or meta.get("CLASSES"))
    return class_names(attributes(state).get(CLASSES) or content.get(CLASSES))


def _described(content: Any) -> str:
    """What a file holds instead, where that has a name."""
    held = content.get("model") or content.get("state_dict") if isinstance(content, Mapping) else content
    named = held.kind if isinstance(held, Stub) else held.path if isinstance(held, Global) else ""
    return f" but an object of {named}" if named else ""


def _not_this(file: TorchFile, problem: str) -> CheckpointError:
    return CheckpointError(f"{file.path}: {problem}", next_step="check that this is the entry's checkpoint")
