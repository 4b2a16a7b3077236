"""A sweep: its jobs one by one, what it says while they run, and its summary."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zoo.config.run_settings import is_of_the_row, row_config
from zoo.console import answer, colour_of
from zoo.errors import ZooError
from zoo.results.diff import entries_of
from zoo.results.ledger import results_dir
from zoo.results.run_folder import LOG
from zoo.results.seeds import label, with_other_seeds
from zoo.sweep.ahead import settled
from zoo.sweep.folders import CONFIG, UNFILED, job_folders, record_of, stands, unfiled
from zoo.sweep.interleave import Interleaving
from zoo.sweep.job import Job
from zoo.sweep.process import failed_record, last_lines, run_apart
from zoo.sweep.view import View
from zoo.terminal import Layout, paint, table, width_of

STANDS = "measured before"
"""Said of a job that had to add nothing to an earlier record."""


def number_of_jobs(arguments: Sequence[str]) -> int:
    """How many jobs Hydra makes of a sweep's overrides."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    given = [argument for argument in arguments if not argument.startswith("-")]
    parsed = OverridesParser.create().parse_overrides(given)
    return math.prod(len(list(one.sweep_string_iterator())) for one in parsed if one.is_sweep_override())


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)  # records know the second


@dataclass(frozen=True, slots=True)
class Sweep:
    """The runs of a sweep, told by the folders that they leave.

    Attributes:
        folder: folder of the sweep; each job has one of its own in it.
        jobs: how many there are.
        started: when it began; what lies in the folder from before is of an earlier one.
        lost: rows whose checkpoint cannot be had, each with the reason.
        rows: composed configurations of the rows themselves, as far as jobs needed them.
        interleaving: jobs that have begun, and take turns.
    """

    folder: Path
    jobs: int
    started: datetime = field(default_factory=_now)
    lost: Mapping[str, str] = field(default_factory=dict)
    rows: dict[tuple[str, bool], Mapping[str, Any]] = field(default_factory=dict)
    interleaving: Interleaving = field(default_factory=Interleaving)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """While the block runs, say how far the sweep is; what has begun by its end is finished."""
        with View(self.folder, self.started, self.jobs):
            try:
                yield
                self.interleaving.finish(self._conclude)
            finally:
                self.interleaving.end()

    def carry_out(self, job: Job) -> int:
        """Run a job in a process of its own, where something is left to do, and say how it ended.

        Returns:
            Its exit status; 0 where it has begun, and is interleaved with others.
        """
        try:
            job = self._beside_its_row(job)
            status = settled(job, self.lost)
            if status is None:
                (Path(job.run_dir) / UNFILED).unlink(missing_ok=True)
                if job.config["sweep"]["interleave"] > 1:
                    self.interleaving.add(job, self._conclude)
                    return 0
        except ZooError as error:
            return _say(job, error)
        return self._conclude(job, lambda: run_apart(job) if status is None else status)

    def _conclude(self, job: Job, carry_out: Callable[[], int]) -> int:
        """Say how a job ended; its exit status."""
        try:
            status = carry_out()
            _note_unfiled(job, status, self.started)
        except ZooError as error:
            return _say(job, error)
        _tell(job, self.started)
        return status

    def _beside_its_row(self, job: Job) -> Job:
        """The same with what it is compared with: jobs that differ in a value have one row, composed once."""
        if is_of_the_row(job.overrides):
            return job
        name, training = job.config["entry"]["name"], job.config["run"]["name"] == "train"
        if (name, training) not in self.rows:
            self.rows[name, training] = row_config(name, training=training)
        return replace(job, own=self.rows[name, training])

    def summary(self) -> int:
        """Print a table of the jobs; the exit status of the whole.

        Read from the jobs' folders, so that it holds for jobs that ran in other processes or on other
        machines, and for those that were killed before they could leave a record. A folder that an earlier
        sweep left is told by its configuration, which every job writes anew when it begins.
        """
        rows = sorted(_outcome(folder, self.started) for folder in job_folders(self.folder, self.started))
        measured = sum(status == "MEASURED" for _, status, *_ in rows)
        print()
        header = ("entry", "status", "box AP", "fps", "seconds", "reason")
        lines = [dict(zip(header, row, strict=True)) for row in rows]
        print(table(lines, width_of(sys.stdout), Layout(below=("reason", "seconds", "fps"))))
        print(f"{measured} of {len(rows)} measured; records under {self.folder}")
        return 0 if rows and measured == len(rows) else 1


def _say(job: Job, error: ZooError) -> int:
    """Say why a job could not be run; its exit status."""
    print(f"{Path(job.run_dir).name}: {error.message}\nnext: {error.next_step}", file=sys.stderr)
    return error.exit_status


def _note_unfiled(job: Job, status: int, started: datetime) -> None:
    """Leave word of a run whose results the disk refused: its record says only that it measured."""
    folder = Path(job.run_dir)
    record = record_of(folder, started)
    if status and record is not None and record.status == "measured":
        said = [line for line in last_lines(folder / LOG) if line.startswith("error: ")]
        reason = said[-1].removeprefix("error: ") if said else "its process ended before"
        (folder / UNFILED).write_text(f"measured, but not filed: {reason}", encoding="utf-8")


def _tell(job: Job, started: datetime) -> None:
    """Say in a line how a job ended, and of one that was not measured what to do next."""
    folder = Path(job.run_dir)
    record = record_of(folder, started)
    if record is None or unfiled(folder, started) is not None:  # it ended before it had one, or before it was filed
        print(f"{folder.name} FAILED", *last_lines(folder / LOG)[-2:], sep="\n", file=sys.stderr)
        return
    stream = sys.stdout if record.status == "measured" else sys.stderr
    row = with_other_seeds(record, Path(job.config["results"]["dir"] or results_dir()))
    word, sentence = answer(row, entries_of([row]).get(row.entry))
    said = sentence.partition("\n")[0].removeprefix(f"{record.label}: ")
    took = "" if record.times.seconds is None else f" ({record.times.seconds:.1f} s)"
    if stands(record, started):
        took = f" ({STANDS})"
    print(f"{label(row)}: {paint(word, colour_of(word), stream)} {said}{took}", file=stream, flush=True)
    if record.status != "measured":
        print(f"next: {record.next_step}", file=sys.stderr)


def _outcome(folder: Path, started: datetime) -> tuple[str, ...]:
    """A line of the summary."""
    record = record_of(folder, started)
    if record is None:
        try:
            record = failed_record(
                _job_of(folder),
                "its launcher ended before it: killed from outside, or for want of memory",
                last_lines(folder / LOG),
            )
        except ZooError as error:  # the job ended by it, before it had a record
            return folder.name, "FAILED", "-", "-", "-", error.message
        except (OSError, KeyError):  # a job of another version, or killed while its folder was being made
            return folder.name, "FAILED", "-", "-", "-", "the job ended without a record"
    lost = unfiled(folder, started)
    if lost is not None:
        return record.label, "FAILED", "-", "-", "-", lost
    numbers = (record.number("box_AP"), record.number("fps"), record.times.seconds)
    reason = (record.reason or (STANDS if stands(record, started) else "")).partition("\n")[0]
    return record.label, record.status.upper(), *map(_short, numbers), reason


def _job_of(folder: Path) -> Job:
    """A job by what Hydra wrote of it into its folder."""
    from omegaconf import OmegaConf

    config: Any = OmegaConf.to_container(OmegaConf.load(folder / CONFIG), resolve=True)
    overrides: Any = OmegaConf.to_container(OmegaConf.load(folder / CONFIG.with_name("overrides.yaml")))
    return Job(config=config, overrides=tuple(overrides), run_dir=str(folder))


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
