"""Two states of the results row by row: which rows are new, gone or changed, and by how much."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from zoo.errors import UsageError
from zoo.measure.measurement import measurements
from zoo.results.cells import number_text, rows_as_text
from zoo.results.compare.snapshots import MeasuredRow, Snapshot
from zoo.results.compare.versions import ACCURACY, machine_bound, mixed_versions
from zoo.results.published import catalogue_key
from zoo.terminal import ABSENT, Layout

State = Literal["new", "gone", "changed", "other machine", "unchanged"]

_ONNX = "onnx_latency"


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberPair:
    """One number of a row in both states.

    Attributes:
        column: column of the tables.
        measurement: measurement that it belongs to.
        old: in the earlier state; None where it has none.
        new: in the later one, likewise.
    """

    column: str
    measurement: str
    old: float | None
    new: float | None

    @property
    def delta(self) -> float | None:
        """How far it moved; None where one side has no number."""
        return None if self.old is None or self.new is None else self.new - self.old


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPair:
    """A row in both states; on two machines where neither state has it on the machine of the other.

    Attributes:
        label: entry and condition.
        state: what became of it.
        old: in the earlier state; None where it is new.
        new: in the later one; None where it is gone.
        numbers: what compares and differs; of a row that is new, gone or on another machine its first number anyway.
    """

    label: str
    state: State
    old: MeasuredRow | None
    new: MeasuredRow | None
    numbers: tuple[NumberPair, ...]


def compare_snapshots(old: Snapshot, new: Snapshot) -> list[RowPair]:
    """Hold two states of the results beside each other, in catalogue order.

    Accuracy and complexity compare whatever the machine, everything else on the same machine alone. Where one side is
    a table, the other side's numbers are rounded as tables round them.

    Raises:
        UsageError: a row was measured by two versions of a measurement, or by two protocols.
    """
    rounded = old.rounded or new.rounded
    return [
        RowPair(label=label, state=_state(before, after, numbers), old=before, new=after, numbers=numbers)
        for label, before, after in _paired(old.rows, new.rows)
        for numbers in (_numbers(before, after, rounded),)
    ]


def _state(old: MeasuredRow | None, new: MeasuredRow | None, numbers: tuple[NumberPair, ...]) -> State:
    if old is None:
        return "new"
    if new is None:
        return "gone"
    if old.machine != new.machine:
        return "other machine"
    return "changed" if numbers or old.weights != new.weights else "unchanged"


def _paired(
    old: Iterable[MeasuredRow], new: Iterable[MeasuredRow]
) -> Iterator[tuple[str, MeasuredRow | None, MeasuredRow | None]]:
    """The rows of both sides by entry, condition and machine; what is left on other machines, too."""
    sides = _by_label(old), _by_label(new)
    for label in sorted(sides[0].keys() | sides[1].keys(), key=lambda label: catalogue_key(label.split("_")[0], label)):
        before, after = (side.get(label, {}) for side in sides)
        yield from ((label, before[place], after[place]) for place in sorted(before.keys() & after.keys()))
        left = sorted(before.keys() - after.keys(), key=lambda place: _newest_first(before[place]))
        anywhere = sorted(before, key=lambda place: _newest_first(before[place]))
        for place in sorted(after.keys() - before.keys()):
            other = left.pop(0) if left else next(iter(anywhere), None)
            yield label, None if other is None else before[other], after[place]
        yield from ((label, before[place], None) for place in sorted(left))


COLUMNS = ("entry", "state", "machine", "metric", "old", "new", "delta", "old measured", "new measured")
"""Of the lines of two states."""

_Place = tuple[str, int]
"""A machine, and a number where several of its rows are called alike."""


def _by_label(rows: Iterable[MeasuredRow]) -> dict[str, dict[_Place, MeasuredRow]]:
    found: dict[str, dict[_Place, MeasuredRow]] = defaultdict(dict)
    for row in rows:
        number = sum(machine == row.machine for machine, _ in found[row.label])
        found[row.label][row.machine, number] = row
    return found


def _newest_first(row: MeasuredRow) -> tuple[list[int], str]:
    stamp = row.stamps.get(ACCURACY, "")
    return [-ord(letter) for letter in stamp], row.machine


def _refuse_mixed(old: MeasuredRow | None, new: MeasuredRow | None) -> None:
    """Raise UsageError where the sides of a row measured different things."""
    if old is None or new is None:
        return
    for name in old.numbers.keys() & new.numbers.keys():
        if name == ACCURACY and old.protocol != new.protocol:
            message = f"{new.label} was measured by two protocols, {old.protocol} and {new.protocol}"
            raise UsageError(message, next_step="compare states in which it has the same protocol")
        if old.versions[name] != new.versions[name] and (name not in machine_bound() or old.machine == new.machine):
            subject = f"{name} by protocol {new.protocol!r}" if name == ACCURACY else name
            raise mixed_versions(subject, (f"{row.versions[name]} ({row.label})" for row in (old, new)))


def _numbers(old: MeasuredRow | None, new: MeasuredRow | None, rounded: bool) -> tuple[NumberPair, ...]:
    _refuse_mixed(old, new)
    everything = []
    for name, measurement in measurements().items():
        if old and new and not _same_place(name, old, new):
            continue
        for column in measurement.columns:
            before, after = ((row.numbers.get(name, {}).get(column.name) if row else None) for row in (old, new))
            if rounded and column.decimals is not None:
                before, after = (None if value is None else round(value, column.decimals) for value in (before, after))
            if (before, after) != (None, None):
                everything.append(NumberPair(column=column.name, measurement=name, old=before, new=after))
    if old is None or new is None:
        return tuple(everything[:1])
    changed = [pair for pair in everything if pair.old != pair.new]
    return tuple(changed if changed or old.machine == new.machine else everything[:1])


def _same_place(measurement: str, old: MeasuredRow, new: MeasuredRow) -> bool:
    """Whether numbers of a measurement compare: those of the machine on the same machine alone."""
    if measurement not in machine_bound():
        return True
    return old.machine == new.machine and (measurement != _ONNX or old.onnx_on == new.onnx_on)


def pair_lines(pairs: Iterable[RowPair], *, full: bool) -> list[dict[str, str]]:
    """A line a number that differs, as column -> text, and one where the weights do; none for unchanged rows.

    Args:
        pairs: as `compare_snapshots` gives them.
        full: whether numbers have all their digits, and what is not there is empty.
    """

    def text(value: float | None, sign: str = "") -> str:
        if full:
            return "" if value is None else str(value)
        return number_text(value, sign)

    lines = []
    for pair in pairs:
        machine = " -> ".join(dict.fromkeys(row.machine for row in (pair.old, pair.new) if row))
        row = {"entry": pair.label, "state": pair.state, "machine": machine}
        if pair.old and pair.new and pair.old.weights != pair.new.weights:
            sides = {"old": pair.old.weights, "new": pair.new.weights, "delta": text(None)}
            lines.append({**row, "metric": "weights", **sides, "old measured": text(None), "new measured": text(None)})
        for number in pair.numbers:
            sides = {"old": text(number.old), "new": text(number.new), "delta": text(number.delta, "+")}
            stamps = {"old measured": _stamp(pair.old, number), "new measured": _stamp(pair.new, number)}
            lines.append({**row, "metric": number.column, **sides, **stamps})
    return lines


def _stamp(row: MeasuredRow | None, number: NumberPair) -> str:
    return row.stamps.get(number.measurement, ABSENT) if row else ABSENT


def render_pairs(pairs: Sequence[RowPair], old: Snapshot, new: Snapshot, width: int | None = None) -> str:
    """Two states of the results as text.

    Args:
        pairs: as `compare_snapshots` gives them.
        old: the earlier state.
        new: the later one.
        width: columns of the terminal; None for any, and then the table is Markdown.
    """
    counts = Counter(pair.state for pair in pairs)
    told = ", ".join(f"{counts[state]} {word}" for state, word in _COUNTED.items() if counts[state])
    parts = [f"{old.title} (old) and {new.title} (new): {told or 'no rows'}"]
    lines = pair_lines(pairs, full=False)
    if lines:
        parts.append(rows_as_text(lines, width, _LAYOUT))
    if any(pair.state == "other machine" for pair in pairs):
        parts.append("Across machines accuracy and complexity compare; speed and memory do not.")
    return "\n\n".join(parts) + "\n"


_COUNTED: dict[State, str] = {
    "new": "new",
    "gone": "gone",
    "changed": "changed",
    "other machine": "on another machine",
    "unchanged": "unchanged",
}
_LAYOUT = Layout(group="entry", below=("old measured", "new measured", "machine"))
