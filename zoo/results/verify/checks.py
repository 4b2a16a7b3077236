"""The checks of committed results: each gives the failures of one cause, and what to do about every one."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from zoo.catalog.entry import Entry
from zoo.checkpoints.pins import LOCK_FILE, Pins
from zoo.results.diff import Row, biases
from zoo.results.ladder import ALARMS
from zoo.results.ledger import results_dir
from zoo.results.published import hardware_bound, machine_of
from zoo.results.record import Record
from zoo.results.table import check_tables, current_folder
from zoo.results.verify.comparison import OF_THE_ROW, Comparison, incomparable, number
from zoo.results.verify.state import Results, RowKey, row_key_of


class Cause(StrEnum):
    """Why committed results do not hold."""

    NOTHING_MEASURED = "nothing measured"
    STALE_TABLE = "stale table"
    LOST_ROW = "lost row"
    UNPINNED_CHECKPOINT = "unpinned checkpoint"
    NEW_ALARM = "new alarm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One reason why committed results do not hold.

    Attributes:
        cause: kind of the reason.
        subject: row, table, zoo or folder that it is about.
        message: what was found.
        next_step: what to do about it.
    """

    cause: Cause
    subject: str
    message: str
    next_step: str


def nothing_measured(now: Results) -> Iterator[Failure]:
    """A sweep without a single row: everything else would hold for want of numbers."""
    if now.rows:
        return
    found = "no row was measured"
    others = [record.label for record in now.everything if record.status == "measured"]
    if others:
        found += f"; {len(others)} of what was measured is no whole row by its own settings: {others[0]}"
    step = "look at what the sweep says of each row"
    yield Failure(cause=Cause.NOTHING_MEASURED, subject=str(now.folder), message=found, next_step=step)


def stale_tables(committed: Path) -> Iterator[Failure]:
    """Committed tables that are not what the committed records and the present catalogue say."""
    folder, different = current_folder(committed), check_tables(committed)
    if not different:
        return
    if folder.is_dir():
        message = f"not what the committed records say: {', '.join(path.name for path in different)}"
    else:
        others = sorted(path.name for path in folder.parent.glob("*") if path.is_dir())
        found = f"the committed ones are of {', '.join(others)}" if others else "none is committed"
        message = f"there is none of the present catalogue: {found}"
    step = "write them anew (`zoo table`), look at what that changes, and commit it"
    yield Failure(cause=Cause.STALE_TABLE, subject=f"tables/{folder.name}", message=message, next_step=step)


def nothing_to_compare(now: Results, then: Results) -> Iterator[Failure]:
    """Measured rows of which no record is committed, not of one: nothing could go stale."""
    if now.rows and not now.rows.keys() & then.rows.keys():
        message = "no record of the rows that were measured is committed: there is nothing to hold them against"
        step = f"commit what was measured: {_take_over(now, then.folder)}"
        yield Failure(cause=Cause.STALE_TABLE, subject=str(then.folder), message=message, next_step=step)


def stale_rows(
    now: Results, committed: Path, pairs: Sequence[tuple[Record, Record]], compared: Sequence[Comparison]
) -> Iterator[Failure]:
    """Committed numbers that are not those of today: one failure a row and machine.

    Args:
        now: what was measured.
        committed: results folder.
        pairs: committed record and that of today, of each row that has both.
        compared: their numbers.
    """
    step = f"find out what changed it, or take the number of today: {_take_over(now, committed)}"
    moved: dict[tuple[str, str], list[str]] = {}
    for item in compared:
        if not item.holds:
            change = f"{item.metric} {number(item.committed)} → {number(item.measured)} ({item.allowed})"
            moved.setdefault((item.record.label, item.machine), []).append(change)
    for (label, machine), changes in moved.items():
        message = f"not as committed of {machine}: {', '.join(changes)}"
        yield Failure(cause=Cause.STALE_TABLE, subject=label, message=message, next_step=step)
    for old, new in pairs:
        why = incomparable(old, new)
        if why is not None:
            message = f"the committed record of {machine_of(old)} is of something else: {why}"
            yield Failure(cause=Cause.STALE_TABLE, subject=new.label, message=message, next_step=step)


def lost_rows(
    now: Results, then: Results, entries: Sequence[Entry], pairs: Sequence[tuple[Record, Record]]
) -> Iterator[Failure]:
    """Committed rows, and measurements of them, that could not be made again."""
    for key, attempt in now.attempts.items():
        if key in then.rows:
            message = f"committed as measured, and now {attempt.status}: {attempt.reason}"
            step = attempt.next_step or "look at what the sweep says of it"
            yield Failure(cause=Cause.LOST_ROW, subject=attempt.label, message=message, next_step=step)
    for name in _without_a_run(now, entries):
        if name in then.entries:
            message = "committed as measured, and now without a record of the whole row"
            step = "look at what the sweep says of it"
            yield Failure(cause=Cause.LOST_ROW, subject=name, message=message, next_step=step)
    for old, new in pairs:
        for name in OF_THE_ROW:
            if name in old.parts and name not in new.parts:
                why = new.skipped.get(name, "the sweep did not ask for it")
                message = f"its {name} is committed, and was not measured now: {why}"
                step = f"measure {name} as well: measure=[{','.join(OF_THE_ROW)}]"
                yield Failure(cause=Cause.LOST_ROW, subject=new.label, message=message, next_step=step)


def unpinned_checkpoints(now: Results, entries: Mapping[str, Entry], committed: Path) -> Iterator[Failure]:
    """Measured rows whose file another one could replace unnoticed: no whole sha256 of it is committed anywhere."""
    pins = Pins(read=[], write=committed / LOCK_FILE)
    for record in now.measured:
        file, published = record.checkpoint, entries[record.entry].checkpoint
        if file is None or file.sha256 == published.sha256:
            continue
        pin = pins.find(published.urls)
        if pin is not None and pin.sha256 == file.sha256:
            continue
        message = (
            f"its file (sha256 {file.sha256[:12]}..., evidence: {file.hash_evidence}) has neither a whole sha256 in "
            f"the catalogue nor a pin in {LOCK_FILE}"
        )
        step = f"look whether it is the published file, then commit its pin: {_take_over(now, committed)}"
        yield Failure(cause=Cause.UNPINNED_CHECKPOINT, subject=record.label, message=message, next_step=step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Something that somebody has to look at: a verdict, or a zoo to one side of its published numbers.

    Attributes:
        subject: row, or zoo.
        metric: published metric.
        verdict: word of the ladder; for a zoo the side that it lies to.
        reason: what is known of it.
        key: row and condition; of a zoo its name.
        machine: where the alarm holds alone, as one of speed does; None where it holds everywhere.
    """

    subject: str
    metric: str
    verdict: str
    reason: str
    key: RowKey | str
    machine: str | None = None

    @property
    def identity(self) -> tuple[object, ...]:
        """What two runs that give the same alarm have in common."""
        return self.key, self.metric, self.verdict, self.machine


def alarms(rows: Sequence[Row]) -> list[Alarm]:
    """The alarms in some judged numbers."""
    found = []
    for row in rows:
        outcome, machine = row.outcome, machine_of(row.record)
        if outcome.verdict in ALARMS:
            said = f"{number(outcome.measured)} against {outcome.published}"
            found.append(
                Alarm(
                    subject=row.record.label,
                    metric=row.metric,
                    verdict=outcome.verdict,
                    reason="; ".join(filter(None, (said, outcome.reason))),
                    key=row_key_of(row.record),
                    machine=machine if hardware_bound(row.metric) else None,
                )
            )
    for bias in biases(rows):
        _, zoo, metric = bias.group
        side = "above" if bias.above > bias.below else "below"
        found.append(Alarm(subject=zoo, metric=metric, verdict=side, reason=bias.sentence, key=zoo))
    return found


def new_alarms(now: Sequence[Alarm], before: Sequence[Alarm], then: Results) -> Iterator[Failure]:
    """The alarms that the committed records do not have; of a machine only where records of it are committed."""
    known = {alarm.identity for alarm in before}
    for alarm in now:
        if alarm.identity not in known and alarm.machine in (None, *then.machines):
            message = f"{alarm.metric} {alarm.verdict}, and not so by the committed records: {alarm.reason}"
            step = "find out what changed it"
            if isinstance(alarm.key, RowKey):
                step += f": `zoo explain {alarm.key.entry}`"
            yield Failure(cause=Cause.NEW_ALARM, subject=alarm.subject, message=message, next_step=step)


def known_alarms(now: Sequence[Alarm], before: Sequence[Alarm], then: Results) -> Iterator[str]:
    """A sentence on every alarm that is no failure."""
    known = {alarm.identity for alarm in before}
    for alarm in now:
        if alarm.identity in known:
            yield f"{alarm.subject}: {alarm.metric} {alarm.verdict}, as the committed records have it"
        elif alarm.machine not in (None, *then.machines):
            yield f"{alarm.subject}: {alarm.metric} {alarm.verdict}, and no record of {alarm.machine} is committed"


def new_failures(now: Results, then: Results) -> Iterator[Failure]:
    """Rows that were never measured, and whose run broke: one that is blocked as ever is no news."""
    for key, attempt in now.attempts.items():
        known = then.attempts.get(key)
        if key in then.rows or attempt.status != "failed" or (known is not None and known.status == "failed"):
            continue
        message, step = f"FAILED: {attempt.reason}", attempt.next_step or "look at what the sweep says of it"
        yield Failure(cause=Cause.NEW_ALARM, subject=attempt.label, message=message, next_step=step)


def not_committed(now: Results, then: Results, entries: Sequence[Entry]) -> Iterator[str]:
    """A sentence on every row that has no committed record, measured now or not."""
    for key, records in now.rows.items():
        if key not in then.rows:
            yield f"{records[0].label}: measured, and no record of it is committed"
    for key, attempt in now.attempts.items():
        if key not in then.rows and attempt.status == "blocked":
            yield f"{attempt.label}: blocked, and no record of it is committed: {attempt.reason}"
    for name in _without_a_run(now, entries):
        if name not in then.entries:
            yield f"{name}: no record of the whole row, and none is committed"


def _without_a_run(now: Results, entries: Sequence[Entry]) -> list[str]:
    """The rows that were to be measured, and of which nothing is told, not even a failure."""
    tried = now.entries | {key.entry for key in now.attempts}
    return [entry.name for entry in entries if entry.name not in tried]


def _take_over(now: Results, committed: Path) -> str:
    """The commands that make what was measured the committed results."""
    elsewhere = "" if committed == results_dir() else f" --results-dir {shlex.quote(str(committed))}"
    return f"`zoo merge {shlex.quote(str(now.folder))}{elsewhere}`, then `zoo table{elsewhere}`"
