"""Two records of one row and condition, the committed one and one of today, number by number.

Accuracy and complexity are those of the row: they are compared on whatever machine each was measured. Speed and memory
belong to the machine: they are compared where it is the same one. The speed of a CPU is also that of whatever else
runs on it, so that it is shown and fails nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from zoo.catalog.entry import Entry
from zoo.measure.measurement import measurements
from zoo.results.evidence import Evidence
from zoo.results.ladder import NOISE
from zoo.results.ledger import different_subject
from zoo.results.published import machine_of
from zoo.results.record import Record
from zoo.results.verdict import RATIO_TOLERANCE, SPEED_TOLERANCE
from zoo.terminal import ABSENT

OF_THE_ROW = ("accuracy", "complexity")
"""Measurements whose numbers are those of the row, on whatever machine; whoever has committed them measures them."""

OF_THE_MACHINE = {
    "speed": ("fps", SPEED_TOLERANCE),
    "memory": ("memory.peak_allocated_bytes", RATIO_TOLERANCE["train_memory_gb"]),
    "train_memory": ("train_memory_gb", RATIO_TOLERANCE["train_memory_gb"]),
}
"""Measurement -> its one number that is compared on the same machine, and how far that may move, as a share of it."""

# Binary floats: a difference of exactly the tolerance may come out a little above it.
_SLACK = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One number of a row in two records.

    Attributes:
        record: the record of today.
        machine: machine of the committed one.
        metric: dotted key of `measured`.
        committed: number of the committed record.
        measured: number of today's; None where it has none.
        allowed: how far the two may differ, in words.
        holds: whether they differ by no more than that.
    """

    record: Record
    machine: str
    metric: str
    committed: float
    measured: float | None
    allowed: str
    holds: bool


def incomparable(committed: Record, measured: Record) -> str | None:
    """Why two records of one row are not of the same thing, as the end of a sentence; None where they are."""
    different = different_subject(committed, measured)
    if different:
        return different
    for name in OF_THE_ROW:
        old, new = committed.parts.get(name), measured.parts.get(name)
        if old and new and old.version != new.version:
            return f"its {name} is of version {old.version}, and today's of version {new.version}"
    return None


def compare(committed: Record, measured: Record, entry: Entry, evidence: Evidence) -> Iterator[Comparison]:
    """The numbers that a committed record of a row has and that today's is held against.

    Args:
        committed: record of the row, on any machine.
        measured: today's, under the same condition. Its measurements of another version are not looked at.
        entry: the row.
        evidence: noise floors of both machines: accuracy may move within the wider one, and within the usual one, since
            machines of one name need not have one kind of chip.
    """

    def compared(metric: str, allowed: str, tolerance: float) -> Iterator[Comparison]:
        old, new = committed.number(metric), measured.number(metric)
        if old is None:
            return
        yield Comparison(
            record=measured,
            machine=machine_of(committed),
            metric=metric,
            committed=old,
            measured=new,
            allowed=allowed,
            holds=new is not None and abs(new - old) <= tolerance + _SLACK,
        )

    shared = [name for name, part in committed.parts.items() if _same_version(measured, name, part.version)]
    if "accuracy" in shared:
        for column in measurements()["accuracy"].columns:
            metric = column.keys[0]
            noise = max(NOISE, *(evidence.noise_of(record, entry, metric) for record in (committed, measured)))
            yield from compared(metric, f"±{noise:g}", noise)
    if "complexity" in shared:
        # One count may be published in several units.
        for count in dict.fromkeys(place.key for place in measurements()["complexity"].metrics.values()):
            yield from compared(count, "exact", 0.0)
    if machine_of(committed) != machine_of(measured):
        return
    for name, (metric, share) in OF_THE_MACHINE.items():
        if name not in shared:
            continue
        binding = name != "speed" or (measured.hardware is not None and measured.hardware.gpu is not None)
        before = abs(committed.number(metric) or 0.0)
        allowed = f"±{share:.0%}" if binding else "shown"
        yield from compared(metric, allowed, before * share if binding else float("inf"))


def _same_version(record: Record, name: str, version: int) -> bool:
    part = record.parts.get(name)
    return part is not None and part.version == version


def number(value: float | None) -> str:
    """A large count whole, any other number with three decimals; a dash where there is none."""
    if value is None:
        return ABSENT
    return f"{value:,.0f}" if abs(value) >= 1000 and value.is_integer() else f"{value:,.3f}"
