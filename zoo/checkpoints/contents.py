"""What a checkpoint file holds, whatever its format."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import Tensor


CLASSES = "classes"
"""Where files of this code's own training have their class list: an attribute of the state dict, or beside it."""

WRAPPERS = ("module.", "_orig_mod.")
"""What stands before every key where the network was saved with what ran it: DistributedDataParallel, torch.compile."""

AVERAGED_STEPS = "n_averaged"
"""How many steps torch's `AveragedModel` has averaged: it stands beside the weights, all of which are a module's."""

LIGHTNING = "model."
"""What stands before every key in files of Lightning, of which the network is usually one part."""

BEFORE_AVERAGING = "weights before averaging: the averaged ones have the plain names, as EMA hooks of mmcv save them"
NOT_AVERAGED = "weights before averaging: the file has the averaged ones beside them"
NO_WEIGHTS = "beside the weights"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of a checkpoint file.

    Attributes:
        tensors: by the file's own keys.
        classes: names of the object classes in label order; None where the file does not say.
        dropped: reason -> what the file holds beside these tensors.
        changed: what was done to the keys -> the keys that it was done to.
    """

    tensors: dict[str, Tensor]
    classes: tuple[str, ...] | None = None
    dropped: dict[str, list[str]] = field(default_factory=dict)
    changed: dict[str, list[str]] = field(default_factory=dict)


def class_names(names: Any) -> tuple[str, ...] | None:
    """The names in a list of classes, or in a mapping of labels to names; None for anything else."""
    if isinstance(names, Mapping) and set(names) == set(range(len(names))):
        names = [names[label] for label in range(len(names))]
    if not isinstance(names, Sequence) or isinstance(names, str) or not names:
        return None
    return tuple(names) if all(isinstance(name, str) for name in names) else None


def without_wrappers(state: Mapping[str, T], *, lightning: bool = False) -> tuple[dict[str, T], dict[str, list[str]]]:
    """A state dict without the names of what its network was wrapped into when it was saved.

    Args:
        state: by the file's keys.
        lightning: whether Lightning wrote it.

    Returns:
        By the network's keys; and what was done -> the keys that it was done to.
    """
    plain, changed = dict(state), {}
    for prefix in (LIGHTNING, *WRAPPERS, *WRAPPERS) if lightning else (*WRAPPERS, *WRAPPERS):
        if plain and all(key.startswith(prefix) and key != prefix for key in plain):
            changed[f"key without {prefix}"] = list(plain)
            plain = {key.removeprefix(prefix): value for key, value in plain.items()}
    return plain, changed


def without_averaged_steps(state: Mapping[str, T]) -> tuple[dict[str, T], list[str]]:
    """A state dict of torch's `AveragedModel` without the steps that it counts, and their key; any other as it is."""
    weights = {key: value for key, value in state.items() if key != AVERAGED_STEPS}
    counted = len(weights) < len(state) and all(key.startswith("module.") for key in weights)
    return (weights, [AVERAGED_STEPS]) if counted else (dict(state), [])


def without_average_copies(state: Mapping[str, T]) -> tuple[dict[str, T], list[str]]:
    """A state dict without the second set of weights that EMA hooks of mmcv leave in it, and the keys of these.

    Such a hook registers a buffer `ema_backbone_conv1_weight` for `backbone.conv1.weight`, and swaps the two before
    the file is written: the averaged weights, those that mmdetection evaluates, have the plain name.
    """
    flat = {f"ema_{re.sub('[.]', '_', key)}" for key in state}
    copies = [key for key in state if key in flat]
    return {key: value for key, value in state.items() if key not in flat}, copies
