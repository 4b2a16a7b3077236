"""The page of a row, or of what was measured of one under another label."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from zoo.catalog.switches import read_switches
from zoo.measure.measurement import measurement, measurements
from zoo.results.diff import Row
from zoo.results.evidence import architecture_key
from zoo.results.explain import Explanation, explanation_rows
from zoo.results.ladder import digits, source_of
from zoo.results.record import Record
from zoo.results.report.composition import composition_of
from zoo.results.report.contents import ACCURACY, BLANK, Contents, Number, Page, Run
from zoo.results.report.detections import DetectionView
from zoo.results.report.facts import command_for, command_of, facts_of, key_groups, parts_of
from zoo.results.seeds import per_seed, spread
from zoo.results.trials import ACCURACY as TRIED
from zoo.terminal import ABSENT

View: TypeAlias = Callable[[Record], DetectionView]
"""Gives what the stored detections of a record show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What a page says of one of its runs.

    Attributes:
        anchor: its id on the page.
        title: machine, and what tells it from another run there.
        run: the run.
        numbers: what was measured, by the tables' column, with the tables' decimals.
        explained: the lines of `zoo explain`; empty where there is nothing to explain.
        to_explain: whether a difference waits for an explanation, and nothing was tried.
        classes: name -> AP of each kind.
        kinds: the kinds of AP that classes have.
        seeds: of a training over several seeds: seed -> AP metric -> value, as text.
        facts: name -> value.
        parts: where the measurements come from.
        keys: the load report.
        command: what repeats it.
        detections: what its stored detections show; None where nobody looked.
    """

    anchor: str
    title: str
    run: Run
    numbers: Mapping[str, str]
    explained: Sequence[Mapping[str, str]]
    to_explain: bool
    classes: Mapping[str, Mapping[str, Number]]
    kinds: Sequence[str]
    seeds: Mapping[str, Mapping[str, str]]
    facts: Mapping[str, str]
    parts: Sequence[Any]
    keys: Sequence[Any]
    command: str
    detections: DetectionView | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One line of the table of verdicts: a published metric on one machine.

    Attributes:
        metric: what was published; a dash where nothing was.
        published: as printed.
        sources: the documents that print it.
        title: the run.
        anchor: where more is said of it.
        measured: our number, with two digits more than the published one has.
        delta: measured minus published.
        verdict: word of the ladder.
        reason: why.
        first: whether it is the first line of its metric.
        lines: of the first one: how many lines the metric has.
    """

    metric: str
    published: str
    sources: str
    title: str
    anchor: str
    measured: str
    delta: str
    verdict: str
    reason: str
    first: bool
    lines: int


def entry_context(contents: Contents, page: Page, view: View | None) -> dict[str, Any]:
    """The values of the template `entry.html`.

    Args:
        contents: the whole report.
        page: of which it is.
        view: what the stored detections of a record show; None to look for none.

    Raises:
        UsageError: the entry refers to something that is not in the catalogue.
    """
    sections = [_section(contents, page, run, i, view) for i, run in enumerate(page.runs)]
    known_from, components = composition_of(page)
    return {
        "page": page,
        "entry": page.entry,
        "others": contents.others(page),
        "sections": sections,
        "judged": list(_judged(sections)),
        "published": [(cell, source_of(cell)) for cell in page.entry.published] if page.entry else [],
        "known_from": known_from,
        "components": components,
        "command": command_for(page.name, page.zoo),
        "neighbours": _neighbours(contents, page),
    }


def _neighbours(contents: Contents, page: Page) -> tuple[Page | None, Page | None]:
    """The page before and the page behind."""
    place = contents.pages.index(page)
    before = contents.pages[place - 1] if place else None
    return before, contents.pages[place + 1] if place + 1 < len(contents.pages) else None


def _section(contents: Contents, page: Page, run: Run, place: int, view: View | None) -> Section:
    record = run.record
    explanation = _explanation(contents, page, record)
    classes = _classes(record)
    report = record.checkpoint.load_report if record.checkpoint else None
    return Section(
        anchor=f"run-{place + 1}",
        title=", ".join(filter(None, (run.machine, run.difference))),
        run=run,
        numbers=_numbers(run),
        explained=_without_empty(explanation_rows(explanation)) if explanation and explanation.trials else [],
        to_explain=explanation is not None and explanation.is_off and not explanation.trials,
        classes=classes,
        kinds=list(dict.fromkeys(kind for values in classes.values() for kind in values)),
        seeds=_seeds(record),
        facts=facts_of(run) | _noise(contents, page, record),
        parts=parts_of(record),
        keys=key_groups(report) if report else [],
        command=command_of(record),
        detections=view(record) if view and run.measured else None,
    )


def _explanation(contents: Contents, page: Page, record: Record) -> Explanation | None:
    """What is known of the differences of a run; None of one that says nothing of the row."""
    if page.entry is None or record.status != "measured" or record.identity.changes or record.trained:
        return None
    switches = read_switches(page.zoo)
    return Explanation(entry=page.entry, record=record, evidence=contents.evidence, switches=switches)


def _without_empty(rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Lines without the columns that none of them has anything in."""
    shown = {column for row in rows for column, text in row.items() if text}
    return [{column: text for column, text in row.items() if column in shown} for row in rows]


def _numbers(run: Run) -> dict[str, str]:
    """Every number of the tables that the run has."""
    columns = [column.name for item in measurements().values() for column in item.columns if not column.published]
    found = {column: run.row.get(column, "") for column in columns} if run.measured else {}
    return {name.replace("_", " "): text for name, text in found.items() if text not in ("", ABSENT)}


def _classes(record: Record) -> dict[str, dict[str, Number]]:
    """Class -> AP of each kind, in the data set's order."""
    measured = record.measured.get("per_class")
    found: dict[str, dict[str, Number]] = {}
    for metric, values in measured.items() if isinstance(measured, Mapping) else ():
        for name, value in values.items() if isinstance(values, Mapping) else ():
            shown = Number(f"{value:.1f}", float(value)) if isinstance(value, int | float) else BLANK
            found.setdefault(name, {})[metric.replace("_", " ")] = shown
    return found


def _seeds(record: Record) -> dict[str, dict[str, str]]:
    """Seed -> AP metric -> value of each seed of a training; nothing where there is one seed alone."""
    seeds = (record.protocol.training or {}).get("seeds") if record.trained else None
    if not isinstance(seeds, Sequence):
        return {}
    metrics = [metric for metric in measurement(TRIED).metrics if spread(record, metric) is not None]
    values = {metric: per_seed(record, metric) for metric in metrics}
    return {
        str(seed): {metric.replace("_", " "): f"{values[metric][i]:.2f}" for metric in metrics}
        for i, seed in enumerate(seeds)
    }


def _noise(contents: Contents, page: Page, record: Record) -> dict[str, str]:
    """The noise floor that the verdicts on AP allow for; nothing where they allow for something else."""
    if page.entry is None or record.trained or record.status != "measured":
        return {}
    known = contents.evidence.noise.get(architecture_key(record, page.entry), {})
    floors = {
        metric: contents.evidence.noise_of(record, page.entry, metric)
        for metric in ACCURACY
        if record.number(metric) is not None
    }
    texts = [
        f"{ACCURACY[metric]} AP {floor:.3f} ({'measured' if metric in known else 'where none was measured'})"
        for metric, floor in floors.items()
    ]
    return {"noise floor": ", ".join(texts)} if texts else {}


def _judged(sections: Sequence[Section]) -> Iterator[Judged]:
    """The verdicts of a page, metric by metric, the machines of each side by side."""
    metrics = dict.fromkeys(line.metric for section in sections for line in section.run.judged)
    for metric in metrics:
        lines = [(section, line) for section in sections for line in section.run.judged if line.metric == metric]
        for place, (section, line) in enumerate(lines):
            measured, delta = _judged_numbers(line)
            yield Judged(
                metric=metric,
                published=line.outcome.published,
                sources=", ".join(dict.fromkeys(source_of(cell) for cell in line.cells)),
                title=section.title,
                anchor=section.anchor,
                measured=measured,
                delta=delta,
                verdict=line.outcome.verdict,
                reason=line.outcome.reason or "",
                first=place == 0,
                lines=len(lines),
            )


def _judged_numbers(line: Row) -> tuple[str, str]:
    """Measured and delta of one verdict, with two digits more than the published number has."""
    outcome, cell = line.outcome, line.cells[0] if line.cells else None
    if outcome.measured is None:
        return ABSENT, ABSENT
    measured = digits(outcome.measured, cell) if cell else f"{outcome.measured:.2f}"
    deviation = spread(line.record, line.metric)
    if deviation is not None and cell:
        measured += f" ± {digits(deviation, cell)}"
    delta = ABSENT if cell is None or outcome.delta is None else f"{outcome.delta:+.{cell.shown_decimals}f}"
    return measured, delta
