"""What a results folder says of some rows: their records by row and condition, and the runs that measured nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from zoo.results.ledger import Ledger
from zoo.results.published import catalogue_key, machine_of
from zoo.results.record import Record


class RowKey(NamedTuple):
    """A row and its condition, on whatever machine: what is held against each other."""

    entry: str
    conditions: tuple[str, ...]


def row_key_of(record: Record) -> RowKey:
    """The row and condition of a record; the kind of device goes with the machine."""
    conditions = (item for item in record.identity.conditions if not item.startswith("device="))
    return RowKey(record.entry, tuple(conditions))


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """A results folder, as far as some rows go. Trainings are draws, and left out.

    Attributes:
        folder: the results folder.
        rows: row and condition -> its records, one a machine.
        attempts: row and condition -> the last run of it, where there is none but such as measured nothing.
        everything: all records of the folder, for evidence.
    """

    folder: Path
    rows: Mapping[RowKey, Sequence[Record]]
    attempts: Mapping[RowKey, Record]
    everything: Sequence[Record]

    @property
    def measured(self) -> list[Record]:
        """The records of rows, machine by machine, in catalogue order."""
        found = [record for records in self.rows.values() for record in records]
        return sorted(found, key=lambda record: (machine_of(record), *catalogue_key(record.zoo, record.label)))

    @property
    def entries(self) -> set[str]:
        """Names of the rows that were measured, under any condition."""
        return {key.entry for key in self.rows}

    @property
    def machines(self) -> set[str]:
        """Machines that rows were measured on."""
        return {machine_of(record) for record in self.measured}


def read_results(folder: Path, names: Iterable[str], *, last_run_counts: bool = False) -> Results:
    """The rows of a results folder.

    Args:
        folder: the results folder.
        names: the rows that are looked at.
        last_run_counts: whether a row does not count as measured on a machine where a later run of it failed.

    Raises:
        UsageError: a record is damaged.
    """
    wanted, ledger = set(names), Ledger(folder)
    records, attempts = ledger.records(), ledger.attempts()
    unmeasured: dict[tuple[RowKey, str], Record] = {}
    for record in sorted(filter(_tried_the_row, attempts), key=_finished):
        if record.entry in wanted:
            unmeasured[row_key_of(record), machine_of(record)] = record
    rows: dict[RowKey, list[Record]] = {}
    for record in records:
        later = unmeasured.get((row_key_of(record), machine_of(record))) if last_run_counts else None
        outdated = later is not None and _finished(later) > _finished(record)
        if record.entry in wanted and not record.trained and not outdated:
            rows.setdefault(row_key_of(record), []).append(record)
    last = {key: record for (key, _), record in sorted(unmeasured.items(), key=lambda item: _finished(item[1]))}
    return Results(
        folder=folder,
        rows=rows,
        attempts={key: record for key, record in last.items() if key not in rows},
        everything=[*records, *attempts],
    )


def _finished(record: Record) -> str:
    return record.times.finished or ""


def _tried_the_row(record: Record) -> bool:
    """Whether a run was to evaluate a row with its own weights, and measured nothing."""
    changed = record.name or record.trained or record.identity.changes or record.other_weights
    return record.status != "measured" and not changed
