"""The folder of a run: one run at a time, and nothing of an earlier one in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from zoo.errors import UsageError
from zoo.files import remove_rests, result_errors

OUTPUTS = ("record.json", "predictions.json", "evaluations.json", "model.onnx", "traceback.txt")
"""What a run leaves, but for a training's metrics, checkpoints and weights: with those a resumed one goes on."""

LOG = "log.txt"
"""What a run of a sweep prints."""

PROGRESS = "progress.json"
"""How far it is."""

LOCK = ".lock"


@contextmanager
def taken(folder: Path) -> Iterator[None]:
    """Hold the folder of a run, without what an earlier run left there.

    Args:
        folder: made where it is not there.

    Raises:
        UsageError: another run is at work in it.
        ZooError: the disk refuses.
    """
    with result_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            message = f"{folder}: another run is at work in this folder"
            raise UsageError(message, next_step="wait for its end, or choose another with hydra.run.dir=DIR") from None
    try:
        with result_errors(folder):
            for name in OUTPUTS:
                remove_rests(folder / name)
                (folder / name).unlink(missing_ok=True)
        yield
    finally:
        lock.release()  # the file stays: who waits for it must not hold one that is gone
