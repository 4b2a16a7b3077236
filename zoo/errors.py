"""The error family: everything a user can cause ends in one message and one next step.

A `ZooError` carries what the front doors need to end well: the message, the next step, the exit
status, and the status its record gets ("blocked": something outside could not be had; "failed":
the run itself broke).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Literal


class ZooError(Exception):
    """An error with a next step.

    Args:
        message: what went wrong, naming the thing (file, key, entry) it went wrong with.
        next_step: what the user can do about it, as an imperative sentence.
    """

    status: Literal["blocked", "failed"] = "failed"
    exit_status: int = 1

    def __init__(self, message: str, *, next_step: str) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling that loader workers rely on.
        return _rebuild, (type(self), self.message, self.next_step)


def _rebuild(kind: type[ZooError], message: str, next_step: str) -> ZooError:
    return kind(message, next_step=next_step)


class UsageError(ZooError):
    """The command line or a configuration file says something that does not exist."""

    exit_status = 2


class BlockedError(ZooError):
    """Something the run needs from outside cannot be had: file, network, device, hash."""

    status = "blocked"


class DownloadError(BlockedError):
    """No mirror delivered the file."""


class HashMismatchError(BlockedError):
    """A file is not the one that was published or pinned."""


class CheckpointError(BlockedError):
    """A checkpoint file is missing, damaged, or of another format than declared."""


class UnsafePickleError(CheckpointError):
    """A checkpoint asks for code that is not on the allow-list. Nothing of it was executed."""


class ConversionError(ZooError):
    """Checkpoint keys and model keys do not correspond one to one."""


class DataError(BlockedError):
    """A data set is missing, incomplete or not in the layout it should have."""


class DeviceError(BlockedError):
    """The asked-for device is not there."""


def closest(name: str, known: Iterable[str], *, n: int = 3) -> str:
    """The `n` known names nearest to a mistyped one, as a phrase for an error message.

    Returns:
        "closest: a, b, c"; "known: ..." where nothing is near and the list is short; else that nothing is near.
    """
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=n, cutoff=0.5)
    if not near:  # a part of a long name is the commonest "typo" of all
        near = [known_name for known_name in names if name and name in known_name][:n]
    if near:
        return "closest: " + ", ".join(near)
    if len(names) <= 12:
        return "known: " + ", ".join(names)
    return "nothing there is close to it"
