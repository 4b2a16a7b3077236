"""Everything that the records of a results folder say of each other, put together as evidence for verdicts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from zoo.catalog.entry import Entry
from zoo.results.attribution import Trial, accounting, sign_of
from zoo.results.evidence import Evidence, noise_floors, row_key, zoo_ratios
from zoo.results.published import published_cells
from zoo.results.record import Record
from zoo.results.trials import trials_of_rows
from zoo.results.verdict import unattributed


def gather_evidence(
    records: Iterable[Record], entries: Mapping[str, Entry], trials: Mapping[str, Sequence[Trial]] | None = None
) -> Evidence:
    """The evidence in some records.

    Args:
        records: rows, and whatever else was measured.
        entries: the rows that they are of, by name.
        trials: `row_key` -> runs of that row with one switch changed; None for those that are among the records.

    Raises:
        UsageError: a zoo's list of switches is faulty.
    """
    known = list(records)
    trials = trials_of_rows(known) if trials is None else trials
    evidence = Evidence(noise=noise_floors(known, entries), trials=trials, ratios=zoo_ratios(known, entries))
    return replace(evidence, further_rows=_further_rows(known, entries, evidence)) if trials else evidence


def _further_rows(
    records: Iterable[Record], entries: Mapping[str, Entry], evidence: Evidence
) -> dict[str, dict[str, int]]:
    """For each row and switch: the other rows of its zoo, on its machine, that the switch accounts for likewise."""
    accounted: dict[tuple[str | None, str, str, int], set[str]] = defaultdict(set)
    keys: dict[str, tuple[str | None, str, int, str]] = {}
    for record in records:
        entry, trials = entries.get(record.entry), evidence.trials.get(row_key(record), ())
        if entry is None or not trials or record.trained or record.identity.changes:
            continue
        cells, outcomes = published_cells(entry), unattributed(record, entry, evidence)
        noise = {metric: evidence.noise_of(record, entry, metric) for metric in cells}
        sign = sign_of(outcomes)
        keys[row_key(record)] = (record.hardware_id, record.zoo, sign, record.entry)
        for trial in accounting(outcomes, cells, trials, noise):
            accounted[record.hardware_id, record.zoo, trial.switch, sign].add(record.entry)
    found: dict[str, dict[str, int]] = {}
    for key, (machine, zoo, sign, name) in keys.items():
        rows: Counter[str] = Counter()
        for (its_machine, its_zoo, switch, its_sign), names in accounted.items():
            if (its_machine, its_zoo, its_sign) == (machine, zoo, sign):
                rows[switch] = len(names - {name})
        found[key] = dict(rows)
    return found
