"""The report: one HTML file that needs nothing else, the same bytes for the same records.

The numbers are those of the tables (`zoo.results.table`) and the verdicts those of the diff (`zoo.results.diff`);
this module only gathers them for the template, which escapes whatever a record says.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from zoo.catalog.entry import METRICS, Entry, entry_names, resolve
from zoo.errors import ZooError
from zoo.files import result_errors, write_atomically
from zoo.results.cells import commit
from zoo.results.diff import Row, diff_rows, entries_of
from zoo.results.gather import gather_evidence
from zoo.results.identity import slug
from zoo.results.ladder import NOISE, digits, source_of
from zoo.results.ledger import Ledger
from zoo.results.published import catalogue_key, machine_of
from zoo.results.record import Record
from zoo.results.report.plots import Delta, Point, scatter_plot, strip_plot, verdict_class
from zoo.results.seeds import aggregate_seeds, label
from zoo.results.table import frame
from zoo.schema import plain
from zoo.terminal import ABSENT

_ACCURACY = {"box_AP": "box", "mask_AP": "mask"}

_NUMBERS = (
    *(f"{kind}_{name}" for kind in ("box", "mask") for name in ("AP", "AP50", "AP75")),
    *(f"{kind}_AP_{size}" for kind in ("box", "mask") for size in ("small", "medium", "large")),
    *("fps", "latency_p50_ms", "latency_p95_ms", "memory_gb", "memory_kind", "params_m", "gmacs"),
)


@dataclass(frozen=True, slots=True)
class Run:
    """One record as the page shows it: its row of the table and its lines of the diff."""

    record: Record
    row: Mapping[str, str]
    judged: tuple[Row, ...]

    @property
    def machine(self) -> str:
        return machine_of(self.record)

    @property
    def accuracy(self) -> tuple[Row, ...]:
        """The verdicts on AP, or the one that says why there are none."""
        return tuple(line for line in self.judged if line.metric in _ACCURACY) or self.judged[:1]

    @property
    def numbers(self) -> dict[str, str]:
        """What was measured, by the tables' column, with the tables' decimals."""
        shown = {name.replace("_", " "): self.row[name] for name in _NUMBERS} if self.measured else {}
        return {name: text for name, text in shown.items() if text not in ("", ABSENT)}

    @property
    def measured(self) -> bool:
        return self.record.status == "measured"

    @property
    def label(self) -> str:
        """How the run is called, of a training with its number of seeds."""
        return label(self.record)


def write_report(results_dir: Path) -> Path:
    """Write the page of a results folder.

    Returns:
        The page, `report/index.html` in that folder.

    Raises:
        ZooError: there are no records, or the folder cannot be written to.
        UsageError: a record is damaged, or one measurement occurs in two versions.
    """
    ledger = Ledger(results_dir)
    records = [*aggregate_seeds(ledger.records()), *ledger.attempts()]
    if not records:
        raise ZooError(
            f"no records to read under {ledger.root}",
            next_step="measure something first: python -m zoo.bench entry=ENTRY (see `zoo list`)",
        )
    page = results_dir / "report" / "index.html"
    text = render_page(records, entries_of(records))
    with result_errors(page):
        write_atomically(page, text)
    return page


def render_page(records: Sequence[Record], entries: Mapping[str, Entry]) -> str:
    """The whole page as text.

    Raises:
        UsageError: one measurement occurs in two versions.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=templates, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {
        "source_of": source_of,
        "units": METRICS,
        "verdict_class": verdict_class,
        "facts": _facts,
        "command": _command,
        "numbers_of": _judged_numbers,
        "absent": ABSENT,
        "anchor": slug,
    }
    runs = list(_runs(records, entries))
    machines = {name: list(group) for name, group in groupby(runs, key=lambda run: run.machine)}
    ordered = sorted(runs, key=lambda run: (catalogue_key(run.record.zoo, run.label), run.machine))
    return environment.get_template("page.html").render(
        counts={machine: Counter(run.record.status for run in group) for machine, group in machines.items()},
        protocols=_protocols(records),
        machines=machines,
        rows={name: list(group) for name, group in groupby(ordered, key=lambda run: run.label)},
        matrix=_matrix(runs),
        strips={machine: strip_plot(deltas) for machine, group in machines.items() if (deltas := _deltas(group))},
        scatters={machine: _scatters(group) for machine, group in machines.items()},
        entries=entries,
    )


def _runs(records: Sequence[Record], entries: Mapping[str, Entry]) -> Iterator[Run]:
    """Machine by machine, each in catalogue order."""
    evidence = gather_evidence(records, entries)
    for _, lines in groupby(diff_rows(records, entries, evidence), key=lambda line: machine_of(line.record)):
        groups = [tuple(group) for _, group in groupby(lines, key=lambda line: id(line.record))]
        table = frame([group[0].record for group in groups], entries, evidence)
        for group, row in zip(groups, table.to_dict("records"), strict=True):
            yield Run(group[0].record, {str(name): text for name, text in row.items()}, group)


def _protocols(records: Sequence[Record]) -> list[str]:
    named = {(r.protocol.name, r.protocol.version) for r in records if r.protocol.name}
    return [f"{name} {version}" for name, version in sorted(named)]


def _matrix(runs: Sequence[Run]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """(label, machine) -> (verdict, text) of each AP; an attempt may be called as its row is, and stands beside it."""
    cells: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for run in runs:
        for line in run.accuracy:
            verdict, delta = line.outcome.verdict, line.outcome.delta
            words = [_ACCURACY.get(line.metric, ""), verdict, "" if delta is None else f"{delta:+.2f}"]
            text = " ".join(word for word in words if word)
            cells.setdefault((run.label, run.machine), []).append((verdict, text))
    return cells


def _deltas(runs: Sequence[Run]) -> list[Delta]:
    """The compared rows. A model trained here is judged by the spread over seeds, so it has no bands."""
    found = []
    for run in runs:
        for line in run.judged:
            if line.metric in _ACCURACY and line.outcome.delta is not None:
                half_unit = line.cells[0].half_unit
                bands = () if run.record.trained else (half_unit, half_unit + NOISE)
                name = f"{run.label} {_ACCURACY[line.metric]}"
                found.append(Delta(name, line.outcome.delta, bands, line.outcome.verdict))
    return found


def _scatters(runs: Sequence[Run]) -> dict[str, str]:
    """Data set -> plot: the AP of two data sets do not share an axis."""
    points: dict[str, list[Point]] = {}
    for run in runs:
        latency, ap = run.record.number("latency_ms.p50"), run.record.number("box_AP")
        if run.measured and latency is not None and ap is not None:
            point = Point(run.label, f"#{slug(run.label)}", latency, ap, run.record.measures_the_row)
            points.setdefault(run.row["data"], []).append(point)
    return {data: scatter_plot(points[data]) for data in sorted(points)}


def _judged_numbers(line: Row) -> tuple[str, str]:
    """Measured and delta of one verdict, with two digits more than the published number has."""
    outcome, cell = line.outcome, line.cells[0] if line.cells else None
    if outcome.measured is None:
        return ABSENT, ABSENT
    measured = digits(outcome.measured, cell) if cell else f"{outcome.measured:.2f}"
    delta = ABSENT if cell is None or outcome.delta is None else f"{outcome.delta:+.{cell.decimals + 2}f}"
    return measured, delta


def _facts(run: Run) -> dict[str, str]:
    """What a number needs to be believed or doubted; only what the record knows."""
    record = run.record
    found: dict[str, list[Any]] = {
        "protocol": [" ".join(_protocols([record]))],
        "condition": list(record.identity.conditions),
        "composition sha256": [record.identity.row],
        "code": [_labelled("commit", None if record.code.commit is None else commit(record.code))],
        "seed": [record.seed],
        "started": [record.times.started],
    }
    if checkpoint := record.checkpoint:
        found["checkpoint"] = [checkpoint.url or checkpoint.path]
        found["sha256"] = [checkpoint.sha256, _labelled("evidence:", checkpoint.hash_evidence)]
    if data := record.data:
        part = "part of the split" if data.partial else "the whole split"
        found["data"] = [data.name, data.split, _labelled("images:", data.images), part]
        found["annotations sha256"] = [data.annotations_sha256]
    if hardware := record.hardware:
        versions = [f"{name} {value}" for name, value in plain(hardware.software).items() if value and name != "os"]
        driver = hardware.gpu.driver if hardware.gpu else None
        found["hardware"] = [run.machine, hardware.device, _labelled("driver", driver), *versions]
    texts = {name: ", ".join(str(item) for item in items if item not in (None, "")) for name, items in found.items()}
    return {name: text for name, text in texts.items() if text}


def _labelled(label: str, value: object) -> str | None:
    return None if value is None else f"{label} {value}"


def _command(run: Run) -> str:
    """The command that repeats a run; the zoo's name is left out where the rest means this entry."""
    record = run.record
    name = record.entry
    short = name.removeprefix(f"{record.zoo}_")
    if name in entry_names() and resolve(short)[0] == name:
        name = short
    overrides = shlex.join((*record.overrides, *_places(record)))
    # make reads a dollar sign before the shell does.
    arguments = f" ARGS={shlex.quote(overrides)}".replace("$", "$$") if overrides else ""
    return f"make reproduce MODEL={shlex.quote(name)}{arguments}"


def _places(record: Record) -> list[str]:
    """Where weights and data lie that no address leads to: file or folder by their name, for the reader to complete.

    Their hashes are among the facts of the run.
    """
    found = []
    for block, key in (("checkpoint", "path"), ("checkpoint", "url"), ("data", "root")):
        asked = record.protocol.config.get(block)
        value = asked.get(key) if isinstance(asked, Mapping) else None
        known = block == "data" and record.data is not None and record.data.known  # is fetched where it is not there
        if value is not None and not known:
            found.append(f"{block}.{key}={value}")
    return found
