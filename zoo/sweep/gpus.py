"""A GPU for each job: those of a list are dealt out over all sweeps of a user on a machine."""

from __future__ import annotations

import getpass
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from zoo.errors import UsageError

_EVERY = 0.2
"""Seconds between two looks for a free one."""


@contextmanager
def one_of(gpus: Sequence[int]) -> Iterator[str]:
    """Hold one of some GPUs, waiting until one is free.

    Args:
        gpus: numbers among the GPUs that this process sees.

    Yields:
        Its name for `CUDA_VISIBLE_DEVICES`.

    Raises:
        UsageError: this process sees fewer.
    """
    names = [_name(gpu) for gpu in gpus]
    lock = _first_free(names)
    try:
        yield Path(lock.lock_file).stem
    finally:
        lock.release()


def _first_free(names: Sequence[str]) -> FileLock:
    folder = Path(tempfile.gettempdir()) / f"zoo-gpus-{getpass.getuser()}"
    folder.mkdir(exist_ok=True)
    while True:
        for name in names:
            lock = FileLock(folder / f"{name}.lock")
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            return lock
        time.sleep(_EVERY)


def _name(gpu: int) -> str:
    """What the driver calls a GPU that this process sees under a number."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return str(gpu)
    names = [name.strip() for name in visible.split(",") if name.strip()]
    if gpu >= len(names):
        message = f"sweep.gpus: no GPU {gpu} among the {len(names)} of CUDA_VISIBLE_DEVICES={visible}"
        raise UsageError(message, next_step="count them from 0")
    return names[gpu]
