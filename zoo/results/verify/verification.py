"""Committed results held against what was measured just now: do they still hold?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.catalog.entry import Entry
from zoo.errors import UsageError
from zoo.results.diff import Row, entries_of
from zoo.results.evidence import Evidence
from zoo.results.gather import gather_evidence
from zoo.results.published import published_cells
from zoo.results.record import Record
from zoo.results.verdict import judge
from zoo.results.verify import checks
from zoo.results.verify.checks import Failure
from zoo.results.verify.comparison import Comparison, compare, incomparable
from zoo.results.verify.state import Results, read_results


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What became of committed results whose rows were measured again.

    Attributes:
        asked: number of rows that were to be measured.
        measured: records of those that were, machine by machine, in catalogue order.
        failures: every reason why the committed results do not hold; none where they do.
        notes: sentences on what was seen besides: rows without a committed record, known alarms.
        comparisons: measured numbers beside committed ones.
        published: measured numbers beside published ones.
    """

    asked: int
    measured: Sequence[Record]
    failures: Sequence[Failure]
    notes: Sequence[str]
    comparisons: Sequence[Comparison]
    published: Sequence[Row]

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against the committed results."""
        return not self.failures

    @property
    def summary(self) -> str:
        """In one sentence: rows and machines measured, numbers compared, and how many of them moved."""
        rows = len({record.entry for record in self.measured})
        machines = ", ".join(dict.fromkeys(record.hardware_id or "" for record in self.measured))
        moved = sum(not comparison.holds for comparison in self.comparisons)
        measured = f"{rows} of {self.asked} rows measured{f' on {machines}' if machines else ''}"
        return f"{measured}; {len(self.comparisons)} numbers held against the committed ones, {moved} of them moved"


def verify(measured: Path, committed: Path, entries: Sequence[Entry]) -> Verification:
    """Hold what was measured just now against committed results. Neither folder is written to.

    Args:
        measured: results folder of a sweep, and of nothing else.
        committed: results folder with records, tables and pins.
        entries: rows that were to be measured.

    Raises:
        UsageError: there is no folder of measured results, the two are one, or a record is damaged.
        CheckpointError: the committed pins are damaged.
    """
    if not measured.is_dir():
        raise UsageError(f"no folder {measured}", next_step="name the results.dir of a sweep")
    if measured.resolve() == committed.resolve():
        step = "measure into a folder of its own: zoo run ... -m results.dir=DIR"
        raise UsageError(f"{measured} is the folder of the committed results", next_step=step)
    names = [entry.name for entry in entries]
    now, then = read_results(measured, names, last_run_counts=True), read_results(committed, names)
    everything = [*now.everything, *then.everything]
    known = entries_of(everything)
    # Noise floors, ratios and trials that are committed serve what is measured now as well.
    evidence = gather_evidence(everything, known)
    published = _judged(now.measured, known, evidence)
    before = _judged(then.measured, known, gather_evidence(then.everything, known))
    alarms_now, alarms_then = checks.alarms(published), checks.alarms(before)
    pairs = list(_pairs(now, then))
    comparisons = [
        comparison
        for old, new in pairs
        if incomparable(old, new) is None
        for comparison in compare(old, new, known[new.entry], evidence)
    ]
    failures = [
        *checks.nothing_measured(now),
        *checks.stale_tables(committed),
        *checks.nothing_to_compare(now, then),
        *checks.stale_rows(now, committed, pairs, comparisons),
        *checks.lost_rows(now, then, entries, pairs),
        *checks.unpinned_checkpoints(now, known, committed),
        *checks.new_failures(now, then),
        *checks.new_alarms(alarms_now, alarms_then, then),
    ]
    return Verification(
        asked=len(entries),
        measured=now.measured,
        failures=failures,
        notes=[*checks.not_committed(now, then, entries), *checks.known_alarms(alarms_now, alarms_then, then)],
        comparisons=comparisons,
        published=published,
    )


def _pairs(now: Results, then: Results) -> Iterator[tuple[Record, Record]]:
    """Committed record and that of today, of each row and condition that has both, on whatever machines."""
    for new_key, records in now.rows.items():
        for new in records:
            for old in then.rows.get(new_key, ()):
                yield old, new


def _judged(records: Iterable[Record], entries: Mapping[str, Entry], evidence: Evidence) -> list[Row]:
    """Every published number of some rows with its verdict, in their order."""
    found = []
    for record in records:
        entry = entries[record.entry]
        cells = published_cells(entry)
        found += [Row(record, metric, cells[metric], said) for metric, said in judge(record, entry, evidence).items()]
    return found
