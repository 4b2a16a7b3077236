"""Files of a training: checkpoints that survive being killed, and the weights that come out.

A checkpoint is written beside its final name and takes it in one step, so the newest one is always
whole. Files are plain tensors and numbers: they load without executing anything.
"""

from __future__ import annotations

import logging
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from zoo.checkpoints.contents import CLASSES
from zoo.errors import UsageError, ZooError
from zoo.files import replacing, result_errors

CHECKPOINTS = "checkpoints"
"""Folder of a training's checkpoints, in the folder of the run."""

KEEP_LAST = 2
"""Checkpoints that are kept: the newest, and the one before in case a disk loses the newest."""

IDENTITY_VERSION = 2
"""Version of the names and values in the identity of a checkpoint (2: classes by their bare names)."""

_log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one training, `step_<steps done>.pt`.

    Args:
        folder: the folder of the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def paths(self) -> list[Path]:
        """The files, oldest first."""
        return sorted(self.folder.glob("step_*.pt"))

    def write(self, step: int, state: Mapping[str, Any]) -> Path:
        """Write a checkpoint, then remove all but the `KEEP_LAST` newest.

        Raises:
            ZooError: the disk is full, or refuses.
        """
        path = self.folder / f"step_{step:09}.pt"
        _save(dict(state), path)
        leftovers = self.folder.glob(".step_*.part")  # of processes that were killed while they wrote
        for old in (*self.paths()[:-KEEP_LAST], *leftovers):
            old.unlink(missing_ok=True)
        return path

    def newest(self) -> dict[str, Any] | None:
        """The newest checkpoint that can be read, on the CPU; None where there is none at all.

        Raises:
            ZooError: there are checkpoints, and none of them can be read.
        """
        paths = self.paths()
        for path in reversed(paths):
            try:
                return _read(path)
            except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
                _log.warning("%s is damaged (%s): taking the one before", path, str(error).splitlines()[0])
        if paths:
            message = f"{self.folder}: none of {len(paths)} checkpoints can be read"
            raise ZooError(message, next_step="delete the folder and train again without run.resume=true")
        return None


def versioned(identity: Mapping[str, Any]) -> dict[str, Any]:
    """The identity of a training as a checkpoint holds it, with the version of the scheme."""
    return {"version": IDENTITY_VERSION, **identity}


def refuse_other_training(found: Mapping[str, Any], identity: Mapping[str, Any], folder: Path) -> None:
    """Compare the identity in a checkpoint with that of the training that is to resume from it.

    Args:
        found: the identity in the checkpoint, as `versioned` made it.
        identity: the identity of this training, without the version.
        folder: the folder of the checkpoint, for the message.

    Raises:
        UsageError: they differ, or another version of zoo wrote the checkpoint and they cannot be compared.
    """
    version = found.get("version")
    if version != IDENTITY_VERSION:
        message = (
            f"{folder} was written by another version of zoo: what was trained there cannot be compared with this run "
            f"(identity version {version or 1}, now {IDENTITY_VERSION})"
        )
        next_step = "finish it with the version that began it, or train in another hydra.run.dir=DIR"
        raise UsageError(message, next_step=next_step)
    for name, wanted in identity.items():
        if found.get(name) != wanted:
            message = f"{folder} is of another training: {name} was {found.get(name)!r}, now is {wanted!r}"
            raise UsageError(message, next_step="ask for the same again, or train in another hydra.run.dir=DIR")


def export_weights(path: Path, tensors: Mapping[str, Tensor], classes: Sequence[str]) -> None:
    """Write weights as a flat state dict, float32 on the CPU, that `torch.load(weights_only=True)` reads.

    The class list goes along as an attribute of the state dict, where it is in nobody's way.

    Raises:
        ZooError: the disk is full, or refuses.
    """
    state = OrderedDict((name, tensor.detach().cpu().contiguous()) for name, tensor in tensors.items())
    setattr(state, CLASSES, list(classes))
    _save(state, path)


def _save(content: Mapping[str, Any], path: Path) -> None:
    with result_errors(path), replacing(path) as file:
        torch.save(content, file.buffer)


def _read(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:  # torch does not look at the checksums, and a flipped bit is a weight
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"checksum of {damaged} is wrong")
    return cast("dict[str, Any]", torch.load(path, map_location="cpu", weights_only=True))
