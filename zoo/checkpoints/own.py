"""Files of the user's own: their format and their names are told by what is in them, not by the entry.

A row that publishes a pickled network can be trained here, and then has a state dict with this code's names; the same
row fine-tuned with the framework it comes from has its own format again. Both are files of the user's own.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from zoo.catalog.entry import Checkpoint
from zoo.checkpoints.containers.file_bytes import FileBytes
from zoo.checkpoints.containers.torch_file import load_torch_file
from zoo.checkpoints.contents import Contents
from zoo.checkpoints.finite import refuse_non_finite
from zoo.checkpoints.readers import jwyang, pth, read_contents, safetensors, ultralytics
from zoo.errors import CheckpointError, UnsafePickleError

_log = logging.getLogger(__name__)

OWN_NAMES = "zoo"
"""The key map of files that bear this code's names."""

RECOGNISED = ("pth", "safetensors", "ultralytics")
"""Formats that are told by their content; what is in no file of these is damaged."""

SHARE = 0.5
"""The part of a model's keys that a file must have under the same names for these to be its names."""

MAX_LISTED = 5
"""Class names that an error lists."""


def read_own(path: Path, declared: Checkpoint) -> Contents:
    """The contents of a file of the user's own.

    Args:
        path: the file.
        declared: how the entry's published file is read, which decides where the content does not.

    Raises:
        CheckpointError: the file is damaged, or of no known format, or has weights that are no numbers.
        UnsafePickleError: the file asks for code that is not allowed.
    """
    try:
        contents = _read(path, declared)
        refuse_non_finite(contents.tensors, path)
    except UnsafePickleError as error:
        raise UnsafePickleError(error.message, next_step=_SAVE_WEIGHTS) from None
    except CheckpointError as error:
        again = error.next_step.startswith("fetch it again")
        raise CheckpointError(error.message, next_step=_COPY_AGAIN if again else error.next_step) from None
    return contents


_SAVE_WEIGHTS = (
    "if the file is yours, save its weights alone where it was made, with torch.save(model.state_dict(), FILE); "
    "if it is not, do not trust it"
)
_COPY_AGAIN = "copy the file again from where it was made, or give another with checkpoint.path=FILE"


def _read(path: Path, declared: Checkpoint) -> Contents:
    source = FileBytes(path)
    container = source.container()
    if container == "safetensors":
        return safetensors.tensors_of(source)
    if declared.format not in RECOGNISED and container not in ("zip", "legacy"):
        return read_contents(path, declared.format)
    if container == "unknown":
        message = f"{path}: not a torch.save file and not a safetensors file, by its first bytes"
        raise CheckpointError(message, next_step="check the file given as checkpoint.path")
    file = load_torch_file(path, source)
    if ultralytics.holds_network(file):
        return ultralytics.network_state_of(file)
    return jwyang.state_dict_of(file) if declared.format == "jwyang" else pth.state_dict_of(file)


def recognise_keymap(keys: Collection[str], expected: Collection[str], declared: Checkpoint) -> str:
    """The key map of a file by its keys: this code's own names, or those of the zoo that the entry belongs to.

    Args:
        keys: of the file.
        expected: of the model.
        declared: names the entry's key map.
    """
    ours = sum(key in expected for key in keys)
    return OWN_NAMES if ours >= SHARE * len(expected) else declared.keymap


def tell_other_classes(found: Sequence[str], wanted: Sequence[str], path: Path) -> None:
    """Say where a file of another framework names other classes than the model has, whose labels it fits.

    What other frameworks leave there is not always true: converted files keep the list of the file before.

    Args:
        found: those of the file.
        wanted: those of the model.
        path: the file.
    """
    if [_plain(name) for name in found] != [_plain(name) for name in wanted]:
        message = "warning: %s: it names %s, where the model has %s: its labels are read as the model's"
        _log.warning(message, path, _listed(found), _listed(wanted))


def _plain(name: str) -> str:
    """A name as older files spell it too: `dining_table`."""
    return name.replace("_", " ").casefold()


def _listed(names: Sequence[str]) -> str:
    """A class list for a message: "80 classes (person, bicycle, ...)"."""
    rest = "" if len(names) <= MAX_LISTED else ", ..."
    return f"{len(names)} class{'' if len(names) == 1 else 'es'} ({', '.join(names[:MAX_LISTED])}{rest})"
