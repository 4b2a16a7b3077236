"""Measured beside published, as text.

The verdicts come from `zoo.results.verdict`, which decides; this module only lays out. Speed and memory are
never compared across machines: they stand beside each other with both names, and only ratios
between rows of the same zoo may be read across.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from zoo.catalog.entry import METRICS, Entry, PublishedCell, entry_names, read_entry
from zoo.results.bias import Bias, find_biases
from zoo.results.cells import rows_as_text
from zoo.results.compare.versions import refuse_mixed_versions
from zoo.results.evidence import NOTHING, Evidence
from zoo.results.ladder import ALARMS, BLOCKED, FAILED, LADDER, NOT_COMPARED, digits, source_of
from zoo.results.published import catalogue_key, hardware_bound, machine_of, measured_on, published_cells
from zoo.results.record import Record, Verdict
from zoo.results.seeds import label, spread
from zoo.results.verdict import judge
from zoo.terminal import ABSENT, Layout


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a diff: a record and one of its metrics."""

    record: Record
    metric: str
    cells: tuple[PublishedCell, ...]
    outcome: Verdict


def entries_of(records: Iterable[Record]) -> dict[str, Entry]:
    """The entries that records are of, by name; rows that left the catalogue have none."""
    names = {record.entry for record in records}
    return {name: read_entry(name) for name in sorted(names & set(entry_names()))}


def diff_rows(records: Iterable[Record], entries: Mapping[str, Entry], evidence: Evidence = NOTHING) -> list[Row]:
    """Every published number of the records' entries with its verdict, in catalogue order.

    A record without any (a changed composition, a row that left the catalogue) has one line too.

    Raises:
        UsageError: one measurement occurs in two versions.
    """
    ordered = sorted(records, key=lambda record: (machine_of(record), *catalogue_key(record.zoo, record.label)))
    refuse_mixed_versions(ordered)
    rows: list[Row] = []
    for record in ordered:
        entry = entries.get(record.entry)
        if entry is None or not entry.published or (record.identity.changes and record.status == "measured"):
            rows.append(Row(record, ABSENT, (), _without_cells(record, entry)))
            continue
        verdicts = judge(record, entry, evidence)
        rows.extend(Row(record, metric, cells, verdicts[metric]) for metric, cells in published_cells(entry).items())
    return rows


def _without_cells(record: Record, entry: Entry | None) -> Verdict:
    if record.status != "measured":
        return Verdict(BLOCKED if record.status == "blocked" else FAILED, ABSENT, None, None, record.reason)
    if record.identity.changes:
        reason = f"a changed composition of {record.entry}"
    else:
        reason = "no published number" if entry is not None else "not in the catalogue"
    return Verdict(NOT_COMPARED, ABSENT, record.number("box_AP"), None, reason)


def passes(rows: Sequence[Row]) -> bool:
    """Whether a diff holds something and nothing that somebody has to look at, in a row or over all rows of a zoo."""
    return bool(rows) and not any(row.outcome.verdict in ALARMS for row in rows) and not biases(rows)


def biases(rows: Iterable[Row]) -> list[Bias]:
    """The metrics in which the rows of a zoo lie to one side of the published numbers; see `zoo.results.bias`."""
    deltas: dict[tuple[str, str, str], dict[str, float]] = defaultdict(dict)
    for row in rows:
        record, delta = row.record, row.outcome.delta
        own = not record.trained and not record.identity.conditions
        if delta is not None and own and row.outcome.verdict in LADDER:
            deltas[machine_of(record), record.zoo, row.metric].setdefault(record.entry, delta)
    return find_biases({key: list(values.values()) for key, values in deltas.items()})


def render_diff(rows: Iterable[Row], width: int | None = None) -> str:
    """The diff of a results folder as text, machine by machine.

    Args:
        rows: as `diff_rows` gives them.
        width: columns of the terminal; None for any, and then the tables are Markdown.
    """
    parts, everything = [], list(rows)
    found = biases(everything)
    for hardware, group in groupby(everything, key=lambda row: machine_of(row.record)):
        here = list(group)
        judged = [row for row in here if not hardware_bound(row.metric)]
        counts = Counter(row.outcome.verdict for row in judged)
        summary = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
        parts.append(f"Measured on {hardware}: {summary or 'no accuracy'}")
        parts.append(rows_as_text([_judged_line(row) for row in judged], width, _JUDGED_LAYOUT))
        parts += [bias.sentence for bias in found if bias.group[0] == hardware]
        speed = list(_speed_lines(here))
        if speed:
            parts.append("Speed and memory (the machines differ: ratios are held beside those of the zoo's other rows)")
            parts.append(rows_as_text(speed, width, _SPEED_LAYOUT))
    return "\n\n".join(part for part in parts if part) + "\n"


def flat_rows(rows: Iterable[Row]) -> list[dict[str, str]]:
    """The rows of a diff, speed and memory among them, as column -> text; for JSON and CSV."""
    return [{"machine": machine_of(row.record), **_judged_line(row)} for row in rows]


_JUDGED_LAYOUT = Layout(group="entry", below=("reason", "source"))
_SPEED_LAYOUT = Layout(group="entry", below=("reason", "published on", "on"))


def _judged_line(row: Row) -> dict[str, str]:
    outcome = row.outcome
    measured = delta = ABSENT
    if outcome.measured is not None:
        measured = digits(outcome.measured, row.cells[0]) if row.cells else f"{outcome.measured:.2f}"
        deviation = spread(row.record, row.metric)
        if deviation is not None:
            measured += f" ± {digits(deviation, row.cells[0])}"
    if outcome.delta is not None:
        delta = f"{outcome.delta:+.{row.cells[0].shown_decimals}f}"
    sources = ", ".join(dict.fromkeys(source_of(cell) for cell in row.cells)) or ABSENT
    return {
        "entry": label(row.record),
        "metric": row.metric,
        "published": outcome.published,
        "source": sources,
        "measured": measured,
        "delta": delta,
        "verdict": outcome.verdict,
        "reason": " ".join((outcome.reason or "").split()),
    }


def _speed_lines(rows: Sequence[Row]) -> Iterator[dict[str, str]]:
    """Both speeds with their machines, the ratio of the two, and how the verdict finds it among the zoo's others."""
    for row in (row for row in rows if hardware_bound(row.metric) and row.record.status == "measured"):
        ours, outcome = row.outcome.measured, row.outcome
        for cell in row.cells:
            unit = METRICS[cell.metric]
            absent = BLOCKED if outcome.verdict == BLOCKED else ABSENT
            yield {
                "entry": label(row.record),
                "metric": row.metric,
                "measured": absent if ours is None else f"{ours:.{max(cell.decimals, 2)}f} {unit}",
                "on": measured_on(row.record, row.metric),
                "published": f"{cell.text} {unit}",
                "published on": cell.hardware or "unnamed",
                "ratio": ABSENT if not ours or not cell.value else f"{ours / cell.value:.2f}",
                "verdict": outcome.verdict,
                "reason": " ".join((outcome.reason or "").split()) if outcome.verdict in LADDER else "",
            }
