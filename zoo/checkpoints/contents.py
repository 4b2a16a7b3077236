"""What a checkpoint file holds, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


CLASSES = "classes"
"""Where files of this code's own training have their class list: an attribute of the state dict, or beside it."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of a checkpoint file.

    Attributes:
        tensors: by the file's own keys.
        classes: names of the object classes in label order; None where the file does not say.
    """

    tensors: dict[str, Tensor]
    classes: tuple[str, ...] | None = None


def class_names(names: Any) -> tuple[str, ...] | None:
    """The names in a list of classes, or in a mapping of labels to names; None for anything else."""
    if isinstance(names, Mapping) and set(names) == set(range(len(names))):
        names = [names[label] for label in range(len(names))]
    if not isinstance(names, Sequence) or isinstance(names, str) or not names:
        return None
    return tuple(names) if all(isinstance(name, str) for name in names) else None
