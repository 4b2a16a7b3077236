"""The local side of fetching: where the cache is, locks, progress bars, and what a disk can refuse."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import DownloadError

if TYPE_CHECKING:
    from tqdm import tqdm

log = logging.getLogger(__name__)

CHUNK = 1 << 16
"""Bytes read or written at a time; also the most that an interrupted transfer loses."""

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


def cache_root() -> Path:
    """The folder of everything fetched: `$ZOO_CACHE`, else the user's cache folder of this system."""
    chosen = os.environ.get("ZOO_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("zoo", appauthor=False)


def progress(label: str, *, total: int | None, done: int = 0, unit: str = "B") -> tqdm[Any]:
    """A progress bar on stderr: silent where that is not a terminal, and for what takes under a second.

    Args:
        total: amount of work in `unit`, None where it is not known.
        done: how much of it is there already.
    """
    from tqdm import tqdm

    return tqdm(
        desc=label,
        total=total,
        initial=done,
        unit=unit,
        unit_scale=unit == "B",
        unit_divisor=1024,
        delay=1.0,
        miniters=1,  # a line that stalls after a fast start would otherwise stall the bar far longer
        disable=None,
    )


@contextmanager
def locked(path: Path, label: str) -> Iterator[None]:
    """Hold the lock beside a path (`<path>.lock`), so that only one process at a time works on it.

    Args:
        label: what is being worked on, for the line that says why this process waits.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(path.name + ".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("%s: waiting for another process that is at it", label)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def disk_errors(folder: Path, label: str, *, elsewhere: str = "ZOO_CACHE=DIR") -> Iterator[None]:
    """Turn what the local disk refuses into an error with a next step.

    Args:
        label: what is being worked on.
        elsewhere: the setting that moves it to another folder.

    Raises:
        DownloadError: the disk is full, or the folder cannot be written to.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise DownloadError(
                f"{label}: the disk of {folder} is full",
                next_step=f"free some space there, or name a folder on another disk with {elsewhere}, and run again "
                "(what has arrived is kept and continued)",
            ) from None
        raise DownloadError(
            f"{label}: cannot use {error.filename or folder}: {error.strerror or error}",
            next_step=f"make it readable and writable, or name another folder with {elsewhere}",
        ) from None
