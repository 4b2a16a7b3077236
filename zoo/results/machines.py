"""One table over all machines: the same row on each of them side by side.

Accuracy should be the same everywhere. Speed and memory belong to the machine: here they stand beside each other, and
nothing compares them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from zoo.coco_tasks import TASKS, iou_types_of
from zoo.measure.measurement import Column, measurements
from zoo.results.cells import MISSING, cell, markdown_table, provenance, stamp
from zoo.results.published import catalogue_key, machine_of
from zoo.results.record import Record
from zoo.results.seeds import label, without_seeds
from zoo.terminal import ABSENT

NAME = "_machines"
"""What the files are called: no machine's name begins with an underscore."""

_SHOWN = {
    "accuracy": tuple(task.ap for task in TASKS.values()),
    "speed": ("fps",),
    "memory": ("memory_gb", "memory_kind"),
}
"""Measurement -> the columns of it that are shown."""

_TITLES = {
    **{task.ap: f"{task.prefix.capitalize()} AP" for task in TASKS.values()},
    "fps": "Images per second",
    "memory_gb": "Memory (GB)",
}
"""Column -> the title of its table in Markdown; the kind of memory stands behind its number there."""

_LEGEND = f"""\
- Behind each number the day it was measured on, and the commit that did.
- AP in points (0 to 100); memory in GB of 10^9 bytes, of the kind named behind it.
- {MISSING}: no record of the row under that condition on that machine. {ABSENT}: the run was not asked to measure it.
  Empty: the row has no such number."""

_SideBySide = Mapping[str, Mapping[str, Mapping[str, str]]]
"""Row -> machine -> column -> cell, in catalogue order."""


def rows_by_machine(records: Sequence[Record]) -> list[dict[str, str]]:
    """Rows of text, one an entry and condition that was measured, in catalogue order.

    Columns are `entry`, and for each machine `<column>@<machine>`: AP, images per second and memory, and the date and
    the commit of each of these measurements.
    """
    found = _side_by_side(records)
    machines = _machines(found)
    return [
        {"entry": name, **{f"{key}@{one}": text for one in machines for key, text in _on(there, one).items()}}
        for name, there in found.items()
    ]


def machines_markdown(records: Sequence[Record]) -> Iterator[str]:
    """The same as paragraphs of Markdown: a table a number, with a column a machine."""
    found = _side_by_side(records)
    machines = _machines(found)
    yield f"{len(found)} rows and conditions on {len(machines)} machine{'s' if len(machines) > 1 else ''}."
    for measurement, columns in _SHOWN.items():
        for column in filter(_TITLES.__contains__, columns):
            lines = [
                {"entry": name, **{one: _with_stamp(_on(there, one), measurement, column) for one in machines}}
                for name, there in found.items()
                if any(cells[column] not in ("", ABSENT) for cells in there.values())
            ]
            if lines:
                yield f"## {_TITLES[column]}"
                yield markdown_table(lines)
    yield _LEGEND


def _side_by_side(records: Sequence[Record]) -> _SideBySide:
    found: dict[str, dict[str, dict[str, str]]] = {}
    alike: Counter[tuple[str, str]] = Counter()
    for record in sorted(records, key=lambda record: (*catalogue_key(record.zoo, record.label), machine_of(record))):
        name, machine = without_seeds(label(record)), machine_of(record)
        alike[name, machine] += 1  # trainings on other data, or begun with other weights, may be called alike
        number = alike[name, machine]
        found.setdefault(name if number == 1 else f"{name} [{number}]", {})[machine] = _cells(record)
    return found


def _machines(found: _SideBySide) -> list[str]:
    return sorted({machine for there in found.values() for machine in there})


def _columns() -> dict[str, list[Column]]:
    return {
        name: [column for column in measurements()[name].columns if column.name in shown]
        for name, shown in _SHOWN.items()
    }


def _cells(record: Record) -> dict[str, str]:
    """The cells of a row on one machine."""
    stamps = provenance(record)
    found: dict[str, str] = {}
    for measurement, columns in _columns().items():
        found |= {column.name: cell(record, column) for column in columns}
        found |= {name: stamps[name] for name in (f"{measurement}_date", f"{measurement}_commit")}
    measured = iou_types_of(record.measured)
    absent = [task.ap for kind, task in TASKS.items() if measured and kind not in measured]
    return found | dict.fromkeys(absent, "")


def _on(there: Mapping[str, Mapping[str, str]], machine: str) -> Mapping[str, str]:
    """The cells of a row on a machine, hyphens where it has no record there."""
    return there.get(machine) or dict.fromkeys(next(iter(there.values())), MISSING)


def _with_stamp(cells: Mapping[str, str], measurement: str, column: str) -> str:
    """A number, the kind that it is of, and when and by which commit it was measured."""
    shown = cells[column]
    if shown in ("", ABSENT, MISSING):
        return shown
    kind = f" {cells['memory_kind']}" if measurement == "memory" else ""
    return f"{shown}{kind} ({stamp(cells, measurement)})"
