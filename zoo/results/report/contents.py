"""What the pages show: every run of a results folder and every row of the catalogue, each under the page it is on.

The verdicts are those of the diff (`zoo.results.diff`), the numbers those of the tables (`zoo.results.table`); this
module only puts them in order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from zoo.catalog.entry import METRICS, Entry
from zoo.coco_tasks import TASKS
from zoo.measure.measurement import measurements
from zoo.results.diff import Row, diff_rows
from zoo.results.evidence import Evidence
from zoo.results.gather import gather_evidence
from zoo.results.identity import digest
from zoo.results.names import bounded
from zoo.results.published import ONNX_LATENCY, catalogue_key, machine_of
from zoo.results.record import Record
from zoo.results.seeds import label
from zoo.results.table import frame
from zoo.results.trials import trials_among
from zoo.terminal import ABSENT

ACCURACY = {task.ap: task.prefix for task in TASKS.values()}
"""The metrics that stand for a run where there is room for one verdict, and how they are called there."""


_TITLES = {
    "latency_ms": "latency",
    ONNX_LATENCY: "latency, ONNX",
    "train_memory_gb": "training memory",
    "train_memory_mb": "training memory",
    "params_m": "parameters",
    "flops_b": "operations",
    "params": "parameters",
    "gmacs": "operations",
    "file_size_mib": "size of the file",
    "hours_per_epoch": "training, an epoch",
}
"""What metrics are called whose names hold their unit."""


def title_of(metric: str) -> tuple[str, str]:
    """What a published metric is called, and its unit."""
    unit = METRICS.get("latency_ms" if metric == ONNX_LATENCY else metric, "")
    return _TITLES.get(metric, metric.replace("_", " ")), unit


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it is shown and as it is sorted; without a value it is blank."""

    text: str = ""
    value: float | None = None


BLANK = Number()


@dataclass(frozen=True, slots=True)
class Run:
    """One record as the pages show it.

    Attributes:
        record: the run; of a training all seeds of its recipe together.
        row: its row of the tables, column -> text.
        judged: its lines of the diff, a published metric each; one without a metric where nothing is published of it.
    """

    record: Record
    row: Mapping[str, str]
    judged: tuple[Row, ...]

    @property
    def machine(self) -> str:
        """Where it ran."""
        return machine_of(self.record)

    @property
    def measured(self) -> bool:
        """Whether it measured anything."""
        return self.record.status == "measured"

    @property
    def headline(self) -> tuple[Row, ...]:
        """The verdicts on AP, or the one that says why there are none."""
        return tuple(line for line in self.judged if line.metric in ACCURACY) or self.judged[:1]

    @property
    def difference(self) -> str:
        """What tells it from another run of the same label on the same machine, in words; empty for the row's own."""
        words = {line.outcome.verdict for line in self.headline} & {"BLOCKED", "FAILED", "OTHER-WEIGHTS", "PARTIAL"}
        return ", ".join(sorted(word.lower().replace("-", " ") for word in words))

    def number(self, column: str) -> Number:
        """The number in a column of the tables; blank where there is none."""
        places = [place for item in measurements().values() for place in item.columns if place.name == column]
        for key in places[0].keys if places else ():
            value = self.record.number(key)
            if value is not None:
                return Number(self.row[column], value * places[0].scale)
        return BLANK


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The page of a row of the catalogue, or of what was measured of one under another label.

    Attributes:
        label: how it is called.
        file: name of its file.
        name: entry that it is of.
        zoo: published collection.
        is_the_row: whether it is the page of the entry itself.
        entry: that entry; None where it has left the catalogue.
        runs: what was measured, a machine after the other; none where nobody tried.
    """

    label: str
    file: str
    name: str
    zoo: str
    is_the_row: bool
    entry: Entry | None
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Everything that the pages are made of.

    Attributes:
        pages: in the order of the catalogue.
        entries: every row of the catalogue, by name.
        evidence: what the records say of each other.
    """

    pages: tuple[Page, ...]
    entries: Mapping[str, Entry]
    evidence: Evidence

    @property
    def runs(self) -> list[Run]:
        """Every run, in the order of the pages."""
        return [run for page in self.pages for run in page.runs]

    @property
    def machines(self) -> list[str]:
        """Every machine that something ran on."""
        return sorted({run.machine for run in self.runs})

    def others(self, page: Page) -> list[Page]:
        """The other pages of the same entry."""
        return [other for other in self.pages if other.name == page.name and other is not page]


def gather_contents(records: Sequence[Record], entries: Mapping[str, Entry]) -> Contents:
    """Put records and the catalogue in order.

    Args:
        records: rows and attempts, trainings a row for each recipe.
        entries: the whole catalogue, by name.

    Raises:
        UsageError: one measurement occurs in two versions, or a zoo's list of switches is faulty.
    """
    evidence = gather_evidence(records, entries)
    runs: dict[_Place, list[Run]] = {_place(name, entry.zoo, name): [] for name, entry in entries.items()}
    trials = set(map(id, trials_among(records)))
    for run in _runs([record for record in records if id(record) not in trials], entries, evidence):
        record, entry = run.record, entries.get(run.record.entry)
        zoo = entry.zoo if entry else record.zoo
        place = _place(record.entry, zoo, label(record), named=record.name is not None)
        runs.setdefault(place, []).append(run)
    ordered = sorted(runs)
    files = file_names([place.label for place in ordered])
    pages = [
        Page(
            label=place.label,
            file=file,
            name=place.name,
            zoo=place.zoo,
            is_the_row=not place.apart,
            entry=entries.get(place.name),
            runs=tuple(runs[place]),
        )
        for place, file in zip(ordered, files, strict=True)
    ]
    return Contents(pages=tuple(pages), entries=entries, evidence=evidence)


class _Place(NamedTuple):
    """What runs of one page share; sorts pages as the catalogue has its rows, other labels behind their row."""

    rank: tuple[int, str, str]
    zoo: str
    name: str
    apart: bool
    label: str


def _place(name: str, zoo: str, called: str, *, named: bool = False) -> _Place:
    return _Place(catalogue_key(zoo, name), zoo, name, named or called != name, called)


def file_names(labels: Sequence[str]) -> list[str]:
    """The name of a file for each of some labels, no two of which a file system takes for one."""
    found: list[str] = []
    taken: set[str] = set()
    for place, called in enumerate(labels):
        name = bounded(re.sub(r"[^A-Za-z0-9._-]+", "_", called).strip("_.") or "row")
        if name.casefold() in taken:
            name = f"{name}-{digest([called, place])[:8]}"
        taken.add(name.casefold())
        found.append(f"{name}.html")
    return found


def _runs(records: Sequence[Record], entries: Mapping[str, Entry], evidence: Evidence) -> list[Run]:
    """Machine by machine, each in the order of the catalogue."""
    found = []
    for _, lines in groupby(diff_rows(records, entries, evidence), key=lambda line: machine_of(line.record)):
        groups = [tuple(group) for _, group in groupby(lines, key=lambda line: id(line.record))]
        table = frame([group[0].record for group in groups], entries, evidence)
        for group, row in zip(groups, table.to_dict("records"), strict=True):
            found.append(Run(group[0].record, {str(name): text for name, text in row.items()}, group))
    return found


def shown_digits(text: str) -> str:
    """A cell of the tables without the words for what is not there."""
    return "" if text in (ABSENT, "FAILED", "BLOCKED") else text
