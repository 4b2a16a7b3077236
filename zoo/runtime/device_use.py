"""Which runs of a sweep use a device: what must have it to itself is measured only where it does."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from zoo.errors import DeviceError

SHARED_DEVICE = "ZOO_SHARED_DEVICE"
"""Environment variable of a run of a sweep: the folder that knows the runs on its device."""


@contextmanager
def using(folder: Path) -> Iterator[None]:
    """Let the other runs on a device know of one more while the block runs. Waits for one that must be alone.

    Args:
        folder: of the device, the same for all runs on it; made where it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own = FileLock(folder / f"{uuid.uuid4().hex}.run")
    with _gate(folder):
        own.acquire()
    try:
        yield
    finally:
        own.release()
        Path(own.lock_file).unlink(missing_ok=True)


@contextmanager
def alone(needed: bool) -> Iterator[None]:
    """Have the device of this run to oneself while the block runs: further runs begin only after it.

    Args:
        needed: whether that matters; else, and in a run of no sweep, the block simply runs.

    Raises:
        DeviceError: another run of the sweep is on the device.
    """
    place = os.environ.get(SHARED_DEVICE)
    if place is None or not needed:
        yield
        return
    with _gate(Path(place)):
        others = sum(map(_is_held, Path(place).glob("*.run"))) - 1  # this one, by the process that began it
        if others > 0:
            raise DeviceError(
                f"other runs of the sweep were on the device ({others})",
                next_step="measure one run at a time, without hydra/launcher, or with sweep.gpus a GPU for each",
            )
        yield


def _gate(folder: Path) -> FileLock:
    """Held by whoever begins, and by whoever is alone."""
    return FileLock(folder / "gate")


def _is_held(path: Path) -> bool:
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()  # of a run that was ended by force
    return False
