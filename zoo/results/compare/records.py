"""Two records of one entry beside each other: every number in both, and what differs besides."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from zoo.errors import UsageError
from zoo.results.cells import number_text, rows_as_text
from zoo.results.compare.versions import machine_bound, refuse_mixed_versions
from zoo.results.published import machine_of, measured_on
from zoo.results.record import Record
from zoo.terminal import ABSENT

_HASH_DIGITS = 12
"""Hex digits of a hash that are shown."""


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
    protocols = {record.protocol.name for record in (old, new) if record.protocol.name}
    if len(protocols) > 1:
        message = f"{old.entry} was measured by two protocols, {' and '.join(sorted(protocols))}"
        raise UsageError(message, next_step="compare two records of the same protocol")
    refuse_mixed_versions([old, new])
    before, after = dict(_numbers(old.measured)), dict(_numbers(new.measured))
    bound, changes = _of_the_machine(old) | _of_the_machine(new), []
    for metric in dict.fromkeys([*before, *after]):
        a, b = before.get(metric), after.get(metric)
        name = metric.split(".")[0]
        elsewhere = name in bound and measured_on(old, name) != measured_on(new, name)
        delta = None if a is None or b is None or elsewhere else b - a
        changes.append(Change(metric, a, b, delta))
    return RecordDiff(tuple(changes), _circumstances(old, new))


def _of_the_machine(record: Record) -> set[str]:
    """The keys of `measured` that hold for the machine alone: such as those of speed and memory."""
    return {key for name in machine_bound() & record.parts.keys() for key in record.parts[name].values}


def _numbers(measured: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, float]]:
    """The numeric leaves of a nested mapping, by dotted name."""
    for key, value in measured.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f"{prefix}{key}", float(value)


def _circumstances(old: Record, new: Record) -> dict[str, tuple[Any, Any]]:
    def of(record: Record) -> dict[str, Any]:
        checkpoint, data, hardware = record.checkpoint, record.data, record.hardware
        return {
            "status": record.status,
            "weights": checkpoint and checkpoint.sha256,
            "hash evidence": checkpoint and checkpoint.hash_evidence,
            "images": data and data.images,
            "annotations": data and data.annotations_sha256,
            "protocol": record.protocol.name,
            "composition": record.identity.row,
            "changes": ", ".join(record.identity.changes) or None,
            **record.identity.condition,
            "hardware": machine_of(record),
            "torch": hardware and hardware.software.torch,
            "commit": _commits(record),
            "seed": record.seed,
        }

    before, after = of(old), of(new)
    names = dict.fromkeys((*before, *after))
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def _commits(record: Record) -> str | None:
    """The commit of the code that measured a record; each with its measurements where there are several."""
    commits: dict[str | None, list[str]] = defaultdict(list)
    for name, part in record.parts.items():
        commits[part.code.commit].append(name)
    if len(commits) < 2:
        return next(iter(commits), record.code.commit)
    return "; ".join(f"{commit} ({', '.join(names)})" for commit, names in commits.items())


def render_comparison(old: Record, new: Record, width: int | None = None) -> str:
    """Two records of one entry as text: what was measured, and under what else. See `compare_records`.

    Args:
        old: the earlier record.
        new: the later record.
        width: columns of the terminal; None for any, and then the tables are Markdown.
    """
    compared = compare_records(old, new)
    numbers = [
        {"metric": c.metric, "old": number_text(c.old), "new": number_text(c.new), "delta": number_text(c.delta, "+")}
        for c in compared.changes
    ]
    parts = [f"{old.entry}", rows_as_text(numbers, width)]
    if compared.circumstances:
        found = [{"what": name, "old": _short(a), "new": _short(b)} for name, (a, b) in compared.circumstances.items()]
        parts += ["What differs besides the numbers", rows_as_text(found, width)]
    return "\n\n".join(parts) + "\n"


def _short(value: object) -> str:
    """A circumstance as text, a hash by its first digits."""
    return (
        ABSENT if value is None else re.sub(r"\b[0-9a-f]{40,64}\b", lambda match: match[0][:_HASH_DIGITS], str(value))
    )


def comparison_line(about: str, **cells: object) -> dict[str, str]:
    """A line of a comparison of two records for JSON and CSV, with every digit; what it has not is empty.

    Args:
        about: "record", "circumstance", "data set", "class" or "image".
        cells: some of the columns.
    """
    columns = ("metric", "name", "old", "new", "delta", "low", "high", "resamples")
    return {"about": about, **{name: "" if cells.get(name) is None else str(cells[name]) for name in columns}}


def comparison_lines(old: Record, new: Record) -> list[dict[str, str]]:
    """What `render_comparison` shows as lines for JSON and CSV."""
    compared = compare_records(old, new)
    return [
        *(comparison_line("record", metric=c.metric, old=c.old, new=c.new, delta=c.delta) for c in compared.changes),
        *(comparison_line("circumstance", name=n, old=a, new=b) for n, (a, b) in compared.circumstances.items()),
    ]
