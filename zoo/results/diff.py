"""Measured beside published, as text; and two records of one entry beside each other.

The verdicts come from `zoo.results.verdict`, which decides; this module only lays out. Speed and memory are
never compared across machines: they stand beside each other with both names, and only ratios
between rows of the same zoo may be read across.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from zoo.catalog.entry import METRICS, Entry, PublishedCell, entry_names, read_entry
from zoo.errors import UsageError
from zoo.results.record import Record
from zoo.results.seeds import label, spread
from zoo.results.verdict import (
    ALARMS,
    BLOCKED,
    FAILED,
    HARDWARE_BOUND,
    NOT_COMPARED,
    Verdict,
    catalogue_key,
    current_verdicts,
    digits,
    hardware_id,
    measured_on,
    published_cells,
    source_of,
)

ABSENT = "\N{EN DASH}"
"""What a table shows where there is no value."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a diff: a record and one of its metrics."""

    record: Record
    metric: str
    cells: tuple[PublishedCell, ...]
    outcome: Verdict


def catalogued(records: Iterable[Record]) -> dict[str, Entry]:
    """The entries that records are of, by name; records of anything else have none."""
    names = {record.entry for record in records if record.based_on is None}
    return {name: read_entry(name) for name in sorted(names & set(entry_names()))}


def diff_rows(records: Iterable[Record], entries: Mapping[str, Entry]) -> list[Row]:
    """Every published number of the records' entries with its verdict, in catalogue order.

    A record without any (a changed composition, a row that left the catalogue) has one line too.

    Raises:
        UsageError: one protocol occurs in two versions.
    """
    ordered = sorted(records, key=lambda record: (hardware_id(record), *catalogue_key(record.zoo, record.entry)))
    refuse_mixed_protocols(ordered)
    rows: list[Row] = []
    for record in ordered:
        entry = entries.get(record.entry)
        if entry is None or not entry.published:
            rows.append(Row(record, ABSENT, (), _without_cells(record, entry)))
            continue
        verdicts = current_verdicts(record, entry)
        rows.extend(Row(record, metric, cells, verdicts[metric]) for metric, cells in published_cells(entry).items())
    return rows


def _without_cells(record: Record, entry: Entry | None) -> Verdict:
    if record.status != "measured":
        return Verdict(BLOCKED if record.status == "blocked" else FAILED, ABSENT, None, None, record.reason)
    if record.based_on is not None:
        reason = f"a changed composition of {record.based_on}"
    else:
        reason = "no published number" if entry is not None else "not in the catalogue"
    return Verdict(NOT_COMPARED, ABSENT, record.measured.get("box_AP"), None, reason)


def passes(rows: Sequence[Row]) -> bool:
    """Whether a diff holds something and nothing that somebody has to look at."""
    return bool(rows) and not any(row.outcome.verdict in ALARMS for row in rows)


def render_diff(records: Iterable[Record], entries: Mapping[str, Entry]) -> str:
    """The diff of a results folder as text (its tables are Markdown), machine by machine."""
    parts = []
    for hardware, group in groupby(diff_rows(records, entries), key=lambda row: hardware_id(row.record)):
        rows = list(group)
        judged = [row for row in rows if row.metric not in HARDWARE_BOUND]
        counts = Counter(row.outcome.verdict for row in judged)
        summary = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
        parts.append(f"Measured on {hardware}: {summary or 'no accuracy'}")
        parts.append(_grid(_JUDGED_HEADER, [_judged_line(row) for row in judged]))
        speed = list(_speed_lines(rows))
        if speed:
            parts.append("Speed and memory (compare the ratios, not the numbers: the machines differ)")
            parts.append(_grid(_SPEED_HEADER, speed))
    return "\n\n".join(parts) + "\n"


_JUDGED_HEADER = ("entry", "metric", "published", "source", "measured", "delta", "verdict", "reason")


def _judged_line(row: Row) -> list[str]:
    outcome = row.outcome
    measured = delta = ABSENT
    if outcome.measured is not None:
        measured = digits(outcome.measured, row.cells[0]) if row.cells else f"{outcome.measured:.2f}"
        deviation = spread(row.record, row.metric)
        if deviation is not None:
            measured += f" ± {digits(deviation, row.cells[0])}"
    if outcome.delta is not None:
        delta = f"{outcome.delta:+.{row.cells[0].decimals + 2}f}"
    sources = ", ".join(dict.fromkeys(source_of(cell) for cell in row.cells)) or ABSENT
    reason = (outcome.reason or "").replace("\n", " ").replace("|", "\\|")
    return [label(row.record), row.metric, outcome.published, sources, measured, delta, outcome.verdict, reason]


_SPEED_HEADER = ("entry", "metric", "measured", "on", "published", "on", "measured ratio", "published ratio")


def _speed_lines(rows: Sequence[Row]) -> Iterator[list[str]]:
    """Both speeds with their machines; ratios to the first row of the same zoo that has both."""
    base: dict[tuple[str, str, str, str | None], tuple[str, float, float]] = {}
    for row in (row for row in rows if row.metric in HARDWARE_BOUND and row.record.status == "measured"):
        ours, place = row.outcome.measured, measured_on(row.record, row.metric)
        for cell in row.cells:
            key = (row.record.zoo, row.metric, place, cell.hardware)
            ratios = [ABSENT, ABSENT]
            if ours:
                if key in base:
                    ratios = [f"{ours / base[key][1]:.2f}x", f"{cell.value / base[key][2]:.2f}x"]
                elif cell.value:
                    base[key] = (label(row.record), ours, cell.value)
                    ratios = ["1.00x", "1.00x"]
            unit = METRICS[cell.metric]
            absent = BLOCKED if row.outcome.verdict == BLOCKED else ABSENT
            shown = absent if ours is None else f"{ours:.{max(cell.decimals, 2)}f} {unit}"
            theirs = [f"{cell.text} {unit}", cell.hardware or "unnamed"]
            yield [label(row.record), row.metric, shown, place, *theirs, *ratios]


def _grid(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    from tabulate import tabulate  # not needed by the quick commands

    return tabulate(lines, headers=header, tablefmt="github", disable_numparse=True)


def render_comparison(old: Record, new: Record) -> str:
    """Two records of one entry as text: what was measured, and under what else. See `compare_records`."""
    compared = compare_records(old, new)

    def text(value: float | None, sign: str = "") -> str:
        return ABSENT if value is None else f"{value:{sign}.6g}"

    numbers = [[c.metric, text(c.old), text(c.new), text(c.delta, "+")] for c in compared.changes]
    parts = [f"{old.entry}", _grid(("metric", "old", "new", "delta"), numbers)]
    if compared.circumstances:
        found = [[name, str(a), str(b)] for name, (a, b) in compared.circumstances.items()]
        parts += ["What differs besides the numbers", _grid(("", "old", "new"), found)]
    return "\n\n".join(parts) + "\n"


@dataclass(frozen=True, slots=True)
class Change:
    """One measured number in two records; `delta` is None where the two are not comparable."""

    metric: str
    old: float | None
    new: float | None
    delta: float | None


@dataclass(frozen=True, slots=True)
class RecordDiff:
    """Two records of one entry: every number in both, and the circumstances that differ."""

    changes: tuple[Change, ...]
    circumstances: Mapping[str, tuple[Any, Any]]


def compare_records(old: Record, new: Record) -> RecordDiff:
    """Hold two runs of one entry beside each other.

    Speed and memory of different machines stand side by side without a difference.

    Raises:
        UsageError: two entries, or two versions of the protocol: the difference would mean nothing.
    """
    if old.entry != new.entry:
        message = f"the records are of two entries, {old.entry} and {new.entry}"
        raise UsageError(message, next_step="name two records of the same entry")
    protocols = {str(record.protocol["name"]) for record in (old, new) if record.protocol.get("name")}
    if len(protocols) > 1:
        message = f"{old.entry} was measured by two protocols, {' and '.join(sorted(protocols))}"
        raise UsageError(message, next_step="compare two records of the same protocol")
    refuse_mixed_protocols([old, new])
    before, after = dict(_numbers(old.measured)), dict(_numbers(new.measured))
    changes = []
    for metric in dict.fromkeys([*before, *after]):
        a, b = before.get(metric), after.get(metric)
        name = metric.split(".")[0]
        bound = name in (*HARDWARE_BOUND, "fps_rounds", "phases_ms", "memory")
        elsewhere = bound and measured_on(old, name) != measured_on(new, name)
        delta = None if a is None or b is None or elsewhere else b - a
        changes.append(Change(metric, a, b, delta))
    return RecordDiff(tuple(changes), _circumstances(old, new))


def refuse_mixed_protocols(records: Iterable[Record]) -> None:
    """Raise UsageError where one protocol occurs in two versions: they measure different things."""
    seen: dict[str, dict[str, str]] = {}
    for record in records:
        if record.protocol.get("version") is not None:
            versions = seen.setdefault(str(record.protocol["name"]), {})
            versions.setdefault(str(record.protocol["version"]), record.entry)
    for name, versions in seen.items():
        if len(versions) > 1:
            found = ", ".join(f"{version} ({entry})" for version, entry in sorted(versions.items()))
            message = f"records of protocol {name!r} in {len(versions)} versions do not compare: {found}"
            raise UsageError(message, next_step="run the entries of the older version again: python -m zoo.bench")


def _numbers(measured: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, float]]:
    """The numeric leaves of a nested mapping, by dotted name."""
    for key, value in measured.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f"{prefix}{key}", float(value)


def _circumstances(old: Record, new: Record) -> dict[str, tuple[Any, Any]]:
    def of(record: Record) -> dict[str, Any]:
        return {
            "status": record.status,
            "weights": record.checkpoint.get("sha256"),
            "hash evidence": record.checkpoint.get("hash_evidence"),
            "images": record.data.get("images"),
            "annotations": record.data.get("annotations_sha256"),
            "protocol": record.protocol.get("name"),
            "resolved config": record.protocol.get("config_sha256"),
            "hardware": hardware_id(record),
            "torch": (record.hardware.get("software") or {}).get("torch"),
            "commit": record.code.get("commit"),
            "seed": record.seed,
        }

    before, after = of(old), of(new)
    return {name: (before[name], after[name]) for name in before if before[name] != after[name]}
