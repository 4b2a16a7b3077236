"""What is known of every row of the catalogue: done, blocked, failed or missing, on which machine and since when."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zoo.catalog.entry import Entry
from zoo.results.ledger import Ledger
from zoo.results.record import Record
from zoo.results.run_folder import RUNS, at_work, progress_of

MEASURE_ANEW = "measure it anew with resume=true"

State = Literal["running", "done", "stale", "blocked", "failed", "missing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowStatus:
    """A row of the catalogue on a machine.

    Attributes:
        entry: name of the row.
        state: "running", where a run of it is at work, whatever earlier ones left; "done", where the row itself was
            measured whole; "stale", where some of that does not stand any more (weights, data, protocol, composition,
            code or libraries are others by now); "blocked" or "failed", where a run of it ended so and none was
            measured there; "missing", where nobody tried on any machine.
        machine: name of the machine; None where the row is missing.
        finished: when the run ended (UTC, ISO 8601).
        reason: why it could not be measured, or does not stand any more.
        next_step: what to do about that.
    """

    entry: str
    state: State
    machine: str | None = None
    finished: str | None = None
    reason: str | None = None
    next_step: str | None = None


def row_status(
    folder: Path,
    entries: Iterable[Entry],
    stale: Callable[[Record], str | None] = lambda _: None,
    runs: Sequence[Path] = RUNS,
) -> list[RowStatus]:
    """The state of rows by both folders of a results folder: a line for each machine that a row was tried on.

    Args:
        folder: results folder.
        entries: the rows, in the order of the answer.
        stale: why something of a row's record does not stand any more; None where all of it does.
        runs: folders below which runs may be at work.

    Raises:
        UsageError: a record is damaged.
    """
    ledger = Ledger(folder)
    done = [record for record in ledger.records() if record.is_the_row_itself]
    tried = [record for record in ledger.attempts() if record.status != "measured" and _is_plain(record)]
    found: dict[tuple[str, str | None], Record] = {}
    for record in sorted(tried, key=lambda record: record.times.finished or ""):  # the last attempt counts
        found[record.entry, record.hardware_id] = record
    found |= {(record.entry, record.hardware_id): record for record in done}
    lines: list[RowStatus] = []
    running = at_work(runs)
    for entry in entries:
        lines += [_at_work(entry.name, run) for name, run in running if name == entry.name]
        of_entry = [record for (name, _), record in sorted(found.items(), key=_by_machine) if name == entry.name]
        lines += [_line(record, stale) for record in of_entry] or [RowStatus(entry=entry.name, state="missing")]
    return lines


def _at_work(entry: str, folder: Path) -> RowStatus:
    """The line of a run that is at work in a folder."""
    progress = progress_of(folder)
    words = f"in {folder}" if progress is None else f"{progress} in {folder}"
    return RowStatus(entry=entry, state="running", reason=words)


def _by_machine(item: tuple[tuple[str, str | None], Record]) -> tuple[str, str]:
    (entry, machine), _ = item
    return entry, machine or ""


def _is_plain(record: Record) -> bool:
    """Whether a run was to be one of the row itself: of its published weights, under its own conditions."""
    identity = record.identity
    return not (record.name or record.trained or identity.changes or identity.conditions or record.other_weights)


def _line(record: Record, stale: Callable[[Record], str | None]) -> RowStatus:
    measured = record.status == "measured"
    reason = stale(record) if measured else record.reason
    state: State = "done" if record.status == "measured" else record.status
    if measured and reason is not None:
        state = "stale"
    return RowStatus(
        entry=record.entry,
        state=state,
        machine=record.hardware_id,
        finished=record.times.finished,
        reason=reason,
        next_step=MEASURE_ANEW if state == "stale" else record.next_step,
    )
