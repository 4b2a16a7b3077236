"""The folder of a run: one run at a time, nothing of an earlier one in it, and where the one of a record lies."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from zoo.errors import UsageError
from zoo.files import remove_rests, result_errors
from zoo.results.record import Record

_log = logging.getLogger(__name__)

RUNS = (Path("outputs"), Path("multirun"))
"""Where runs leave their folders, unless they are told otherwise."""

PREDICTIONS = "predictions.json"

OUTPUTS = ("record.json", PREDICTIONS, "evaluations.json", "model.onnx", "traceback.txt")
"""What a run leaves, but for a training's metrics, checkpoints and weights: with those a resumed one goes on."""

LOG = "log.txt"
"""What a run of a sweep prints."""

PROGRESS = "progress.json"
"""How far it is."""

LOCK = ".lock"

_PATIENCE = 1.0
"""Seconds that a run waits for its folder: who looks whether it is taken holds it for a moment."""


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
            lock.acquire(timeout=_PATIENCE)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """How far a job is.

    Attributes:
        stage: what it is doing, such as "evaluate".
        done: units that are done.
        total: of how many.
        unit: what is counted.
        per_second: units a second.
    """

    stage: str
    done: int
    total: int
    unit: str
    per_second: float

    def __str__(self) -> str:
        return f"{self.stage} {self.done} of {self.total}, {self.per_second:.3g} {self.unit}/s"


def progress_of(folder: Path) -> RunProgress | None:
    """How far a job is, where it says so."""
    try:
        loaded: Any = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
        return RunProgress(**loaded)
    except (OSError, ValueError, TypeError):  # not there yet, or just being written
        return None


def at_work(below: Sequence[Path] = RUNS) -> list[tuple[str, Path]]:
    """The runs below some folders that have begun and not ended, as (entry, folder of the run).

    Entries are told by where Hydra puts a run: `outputs/<entry>/<time>`, `multirun/<time>/<number>_<entry>`.
    """
    found = []
    for path in sorted(path for folder in below for path in folder.glob(f"*/*/{LOCK}")):
        folder = path.parent
        if not (folder / "record.json").is_file() and _is_held(path):  # a record is left at the end
            number, _, entry = folder.name.partition("_")
            found.append((entry if number.isdigit() and not entry[:1].isdigit() else folder.parent.name, folder))
    return found


def _is_held(path: Path) -> bool:
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except (Timeout, OSError):
        return True
    lock.release()
    return False


def leave_standing(folder: Path, record: Record) -> None:
    """Leave the record of earlier runs in the folder of one that had nothing to add to it.

    Detections that lie there stay where they are the record's own.

    Args:
        folder: of the run.
        record: the record that stands.

    Raises:
        UsageError, ZooError: as `taken` does.
    """
    path = folder / "record.json"
    there = _stored(path) if path.is_file() else None
    if there is not None and there.record.parts[_ACCURACY] == record.parts.get(_ACCURACY):
        record.write(path)
        return
    with taken(folder):
        record.write(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDetections:
    """A run whose detections lie on this disk.

    Attributes:
        folder: of the run.
        record: the one that the run left there.
    """

    folder: Path
    record: Record

    @property
    def path(self) -> Path:
        """The file of the detections."""
        return self.folder / PREDICTIONS


class RunFolders:
    """The runs below some folders that measured accuracy and still have their detections.

    Args:
        below: folders, looked through to any depth on first use; those that are not there have none.
    """

    def __init__(self, below: Sequence[Path] = RUNS) -> None:
        self.below = tuple(below)

    @cached_property
    def _runs(self) -> list[StoredDetections]:
        paths = {path for folder in self.below for path in folder.rglob("record.json")}
        return [run for path in sorted(paths) if (run := _stored(path)) is not None]

    def of_entry(self, entry: str) -> list[StoredDetections]:
        """The runs of an entry, whatever was changed in it, by their folders."""
        return [run for run in self._runs if run.record.entry == entry]

    def of(self, record: Record) -> StoredDetections | None:
        """The run that measured the accuracy of a record: the same composition, finished at the same time."""
        part = record.parts.get(_ACCURACY)
        for run in self.of_entry(record.entry):
            same = run.record.identity.row == record.identity.row
            if same and part is not None and run.record.parts[_ACCURACY].finished == part.finished:
                return run
        return None


_ACCURACY = "accuracy"


def _stored(path: Path) -> StoredDetections | None:
    """The run of a record file, if it has detections; a record that cannot be read is said, and passed over."""
    if not path.with_name(PREDICTIONS).is_file():
        return None
    try:
        record = Record.read(path)
    except UsageError as error:
        _log.warning("warning: %s", error.message)
        return None
    return StoredDetections(folder=path.parent, record=record) if _ACCURACY in record.parts else None
