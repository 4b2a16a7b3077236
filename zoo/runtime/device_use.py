"""Which runs of a sweep use a device: what must have it to itself is measured only where it does."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from zoo.errors import DeviceError

if TYPE_CHECKING:
    import torch

    from zoo.runtime.distributed import DistributedContext

SWEEP_DEVICES = "ZOO_SWEEP_DEVICES"
"""Environment variable: the folder in which the runs of a sweep say which device they use."""


class DeviceUse:
    """The use of a device by this run, next to the other runs of its sweep.

    Args:
        folder: where the runs on this device are known; None where this run is of no sweep.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    @contextmanager
    def alone(self, needed: bool) -> Iterator[None]:
        """Have the device to oneself while the block runs: runs that begin meanwhile wait for its end.

        Args:
            needed: whether that matters; else the block simply runs.

        Raises:
            DeviceError: another run of the sweep is on it.
        """
        if self._folder is None or not needed:
            yield
            return
        with _gate(self._folder):
            others = sum(map(_is_held, self._folder.glob("*.run"))) - 1  # this one
            if others > 0:
                raise DeviceError(
                    f"{others} other runs of the sweep were on the device",
                    next_step="measure one run at a time, without hydra/launcher, or with sweep.gpus a GPU for each",
                )
            yield


@contextmanager
def use_of(device: torch.device, context: DistributedContext) -> Iterator[DeviceUse]:
    """Let the other runs of the sweep know of this one while the block runs; of its processes the first one does."""
    place = os.environ.get(SWEEP_DEVICES)
    if place is None or not context.is_main:
        yield DeviceUse(None)
        return
    folder = Path(place) / _name(device)
    folder.mkdir(parents=True, exist_ok=True)
    with _gate(folder):
        own = FileLock(folder / f"{os.getpid()}.run")
        own.acquire()
    try:
        yield DeviceUse(folder)
    finally:
        own.release()


def _gate(folder: Path) -> FileLock:
    """Held by whoever begins, and by whoever is alone."""
    return FileLock(folder / "gate")


def _is_held(path: Path) -> bool:
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()  # of a run that has ended, perhaps by force
    return False


def _name(device: torch.device) -> str:
    """A device of a machine, among those that this process sees."""
    if device.type != "cuda":
        return f"{socket.gethostname()}-{device.type}"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return f"{socket.gethostname()}-cuda-{visible.replace(',', '_')}-{device.index or 0}"
