"""A sweep as a whole: what became of its jobs."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.results.record import Record
from zoo.terminal import Layout, table, width_of


def summary(sweep_dir: Path, started: datetime) -> int:
    """Print a table of a sweep's jobs; returns the exit status of the whole.

    Read from the jobs' folders, so that it holds for jobs that ran in other processes or on other
    machines, and for those that were killed before they could leave a record. A folder that an earlier
    sweep left is told by its configuration, which every job writes anew when it begins.
    """
    begun = started.timestamp() - 1  # file systems round
    configs = [path for path in sweep_dir.rglob(".hydra/config.yaml") if path.stat().st_mtime >= begun]
    rows = sorted(_outcome(path.parent.parent, started) for path in configs)
    measured = sum(status == "MEASURED" for _, status, *_ in rows)
    print()
    header = ("entry", "status", "box AP", "fps", "seconds", "reason")
    lines = [dict(zip(header, row, strict=True)) for row in rows]
    print(table(lines, width_of(sys.stdout), Layout(below=("reason", "seconds", "fps"))))
    print(f"{measured} of {len(rows)} measured; records under {sweep_dir}")
    return 0 if rows and measured == len(rows) else 1


def _outcome(job: Path, started: datetime) -> tuple[str, ...]:
    """A line of the summary."""
    path = job / "record.json"
    # The file may be that of an earlier sweep, and what is in it of an earlier run that nothing had to be added to.
    record = Record.read(path) if path.is_file() and path.stat().st_mtime >= started.timestamp() - 1 else None
    if record is None:
        try:
            record = _killed(job)
        except ZooError as error:  # the job ended by it, before it had a record
            return job.name, "FAILED", "-", "-", "-", error.message
        except (OSError, KeyError):  # a job of another version, or killed while its folder was being made
            return job.name, "FAILED", "-", "-", "-", "the job ended without a record"
    numbers = (record.number("box_AP"), record.number("fps"), record.times.seconds)
    before = "measured before" if datetime.fromisoformat(record.times.started) < started else ""
    reason = (record.reason or before).partition("\n")[0]  # the rest of it stands in the record
    return record.label, record.status.upper(), *map(_short, numbers), reason


def _killed(job: Path) -> Record:
    """The record of a job whose process was killed before it could leave one: failed, and filed as such."""
    from omegaconf import OmegaConf

    from zoo.config.settings import RunSettings
    from zoo.results.ledger import Ledger, results_dir
    from zoo.runtime.hardware import fingerprint, resolve_device

    plain: Any = OmegaConf.to_container(OmegaConf.load(job / ".hydra/config.yaml"), resolve=True)
    overrides: Any = OmegaConf.to_container(OmegaConf.load(job / ".hydra/overrides.yaml"))
    settings = RunSettings.from_config(plain, overrides=overrides, run_dir=job, default_results=results_dir())
    record = settings.new_record()
    record.hardware = fingerprint(resolve_device(settings.asked.device))
    record.reason = "the process of the job ended without a word: killed from outside, or for want of memory"
    record.next_step = "run the entry again by itself"
    record.write(job / "record.json")
    Ledger(settings.results_dir).file(record)
    return record


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
