"""The folders of a sweep's jobs: what is known of a sweep, in whatever processes and on whatever machines it runs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from zoo.errors import ZooError
from zoo.results.record import Record

CONFIG = Path(".hydra", "config.yaml")
"""What every job writes anew when it begins."""


UNFILED = "unfiled.txt"
"""Why a run that measured everything could not be filed among the results: the last line of its log."""


def job_folders(sweep: Path, started: datetime) -> list[Path]:
    """The folders of jobs that have begun since; what lies there from before is of an earlier sweep."""
    since = started.timestamp() - 1  # file systems round
    found = []
    for config in sweep.rglob(str(CONFIG)):
        try:
            if config.stat().st_mtime >= since:
                found.append(config.parent.parent)
        except FileNotFoundError:  # a folder that is just being made anew
            continue
    return sorted(found)


def record_of(folder: Path, started: datetime) -> Record | None:
    """The record that a job left since, of its own or of an earlier run that stands; None where it has left none.

    Raises:
        ZooError: the record is damaged.
    """
    path = folder / "record.json"
    written = path.is_file() and path.stat().st_mtime >= started.timestamp() - 1  # file systems round
    return Record.read(path) if written else None


def stands(record: Record, started: datetime) -> bool:
    """Whether the record that a job left is that of an earlier run, to which it had to add nothing."""
    return datetime.fromisoformat(record.times.started) < started


def unfiled(folder: Path, started: datetime) -> str | None:
    """Why what a job measured since could not be filed; None where it was."""
    path = folder / UNFILED
    since = path.is_file() and path.stat().st_mtime >= started.timestamp() - 1  # file systems round
    return path.read_text(encoding="utf-8") if since else None


def status_of(folder: Path, started: datetime) -> str:
    """ "running", or the status of the record that a job left since; "standing" where it had to add nothing to it."""
    try:
        record = record_of(folder, started)
    except ZooError:
        return "failed"
    if record is None:
        return "running"
    if unfiled(folder, started) is not None:
        return "failed"
    return "standing" if stands(record, started) else record.status
