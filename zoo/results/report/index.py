"""The first page: what was attempted, every verdict, every row, and the plots of each machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from zoo.catalog.entry import METRICS, ZOO_ORDER, Entry
from zoo.results.bias import Bias
from zoo.results.diff import Row, biases
from zoo.results.ladder import BLOCKED, COMPARED, FAILED, LADDER, TRAINING_SIGMA, printed, training_margin
from zoo.results.published import ONNX_LATENCY, published_cells
from zoo.results.record import Record
from zoo.results.report.contents import ACCURACY, BLANK, Contents, Number, Page, Run, shown_digits
from zoo.results.report.plots import Delta, Point, scatter_plot, signed, strip_plot
from zoo.results.report.words import MEANINGS, NO_RECORD, VERDICTS
from zoo.results.seeds import per_seed, spread

_STATES = ("measured", "blocked", "failed", "otherwise")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """How far some rows of the catalogue have come.

    Attributes:
        name: zoo, or all of them.
        rows: rows of the catalogue.
        counts: state -> rows that are in it.
        verdicts: verdict on AP -> rows that have it.
    """

    name: str
    rows: int
    counts: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)

    @property
    def shown_verdicts(self) -> list[tuple[str, int]]:
        """Verdicts of what was attempted, in order, with the number of rows."""
        return [(verdict, self.verdicts[verdict]) for verdict in VERDICTS[:-1] if self.verdicts[verdict]]

    @property
    def attempted(self) -> int:
        """Rows that somebody tried."""
        return sum(self.counts[state] for state in _STATES)

    @property
    def missing(self) -> int:
        """Rows without a record."""
        return self.rows - self.attempted


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the table of rows.

    Attributes:
        page: where more is said of it.
        machine: where it ran; empty where nobody tried.
        verdicts: each verdict on an AP, and its text.
        cells: published metric -> verdict and difference, as text; none where nobody tried.
        numbers: column -> number.
        reason: why the verdict is what it is.
    """

    page: Page
    machine: str
    verdicts: tuple[tuple[str, str], ...]
    cells: dict[str, tuple[str, str]]
    numbers: dict[str, Number]
    reason: str


COLUMNS = {
    **{
        f"{metric}_{name}": (f"{kind} AP", title)
        for metric, kind in ACCURACY.items()
        for name, title in (("published", "published"), ("measured", "measured"), ("delta", "difference"))
    },
    "fps": ("images/s", "fps"),
    "latency_p50_ms": ("ms", "median latency"),
    "memory_gb": ("GB", "memory"),
    "params_m": ("M", "parameters"),
}
"""The numbers of the table: key -> unit and head."""


def index_context(contents: Contents, protocols: Sequence[str]) -> dict[str, Any]:
    """The values of the template `index.html`."""
    runs = contents.runs
    machines = {machine: [run for run in runs if run.machine == machine] for machine in contents.machines}
    lines = [line for page in contents.pages for line in _lines(page)]
    judged = [line for run in runs for line in run.judged]
    columns = {key: head for key, head in COLUMNS.items() if any(line.numbers[key].text for line in lines)}
    attempts = count_attempts(contents)
    counts = attempts[0].counts
    return {
        "attempts": attempts,
        "stopped": [
            ("blocked", counts["blocked"], BLOCKED),
            ("failed", counts["failed"], FAILED),
            ("without a record", attempts[0].missing, NO_RECORD),
        ],
        "no_record": NO_RECORD,
        "meanings": MEANINGS,
        "protocols": protocols,
        "machines": machines,
        "statuses": {machine: Counter(run.record.status for run in group) for machine, group in machines.items()},
        "matrix_metrics": _matrix_metrics(lines),
        "lines": lines,
        "columns": columns,
        "zoos": list(dict.fromkeys(page.zoo for page in contents.pages)),
        "verdicts": [
            name for name in VERDICTS if any(name == verdict for line in lines for verdict, _ in line.verdicts)
        ],
        "biases": biases(judged),
        "bias_of": _bias_words,
        "strips": {machine: strip_plot(found) for machine in machines if (found := _deltas(contents, machine))},
        "scatters": {machine: _scatters(contents, machine) for machine in machines},
    }


def count_attempts(contents: Contents) -> list[Attempts]:
    """How far the rows of each zoo of the catalogue have come, the whole catalogue first."""
    zoos = sorted({entry.zoo for entry in contents.entries.values()}, key=_zoo_rank)
    runs: dict[str, list[Run]] = {name: [] for name in contents.entries}
    for run in contents.runs:
        runs.get(run.record.entry, []).append(run)
    found = []
    for name, chosen in [("all zoos", zoos), *((zoo, [zoo]) for zoo in zoos)]:
        entries = [entry for entry in contents.entries.values() if entry.zoo in chosen]
        attempts = Attempts(name=name, rows=len(entries))
        for entry in entries:
            state, verdict = _state(runs[entry.name])
            attempts.counts[state] += state in _STATES
            attempts.verdicts[verdict] += 1
        found.append(attempts)
    return found


def _zoo_rank(zoo: str) -> tuple[int, str]:
    return (ZOO_ORDER.index(zoo) if zoo in ZOO_ORDER else len(ZOO_ORDER), zoo)


def _state(runs: Sequence[Run]) -> tuple[str, str]:
    """What became of a row on any machine, and its verdict.

    Measured, where a run of the row itself was; else how the last attempt ended.
    """
    own = [run for run in runs if run.record.measures_the_row]
    if own:
        # the published weights before a training, the row's own conditions before others
        kinds = [(run.record.trained, len(run.record.identity.conditions)) for run in own]
        return "measured", _worst([run for run, kind in zip(own, kinds, strict=True) if kind == min(kinds)])
    stopped = [run for run in runs if not run.measured and not run.record.identity.changes]
    if stopped:
        last = max(stopped, key=lambda run: run.record.times.finished or "")
        return last.record.status, _worst([last])
    return ("otherwise", _worst(runs)) if runs else ("", NO_RECORD)


def _worst(runs: Sequence[Run]) -> str:
    """The verdict on an AP that most needs somebody to look at it."""
    found = {line.outcome.verdict for run in runs for line in run.headline}
    return max(found, key=lambda verdict: (verdict in COMPARED, VERDICTS.index(verdict)))


def _lines(page: Page) -> list[Line]:
    """The lines of a page: one a run, or what was published of a row that nobody tried."""
    if page.runs:
        return [_line(page, run) for run in page.runs]
    verdicts, numbers = ((NO_RECORD, NO_RECORD),), _all_columns(_published(page.entry))
    return [Line(page=page, machine="", verdicts=verdicts, cells={}, numbers=numbers, reason="")]


def _line(page: Page, run: Run) -> Line:
    found = {} if run.record.identity.changes else _published(page.entry)
    for line in run.headline:
        if line.metric in ACCURACY:
            delta = line.outcome.delta
            found[f"{line.metric}_delta"] = BLANK if delta is None else Number(signed(delta), delta)
    for metric in ACCURACY:
        found[f"{metric}_measured"] = run.number(metric)
    for column in ("fps", "latency_p50_ms", "memory_gb", "params_m"):
        found[column] = run.number(column)
    return Line(
        page=page,
        machine=run.machine,
        verdicts=tuple(
            (line.outcome.verdict, f"{ACCURACY.get(line.metric, '')} {line.outcome.verdict}".strip())
            for line in run.headline
        ),
        cells={
            line.metric if line.metric in METRICS or line.metric == ONNX_LATENCY else next(iter(ACCURACY)): (
                line.outcome.verdict,
                "" if line.outcome.delta is None else signed(line.outcome.delta),
            )
            for line in run.judged
        },
        numbers=_all_columns(found),
        reason=run.row["reason"],
    )


def _all_columns(numbers: dict[str, Number]) -> dict[str, Number]:
    return {key: numbers.get(key, BLANK) for key in COLUMNS}


def _published(entry: Entry | None) -> dict[str, Number]:
    cells = {} if entry is None else published_cells(entry)
    return {
        f"{metric}_published": Number(printed(cells[metric]), cells[metric][0].value)
        for metric in ACCURACY
        if metric in cells
    }


def _matrix_metrics(lines: Iterable[Line]) -> list[str]:
    """The published metrics that something was said of, in the order of the published tables."""
    present = {metric for line in lines for metric in line.cells}
    return [metric for metric in (*METRICS, ONNX_LATENCY) if metric in present]


def _deltas(contents: Contents, machine: str) -> list[Delta]:
    """The compared rows of a machine, each with the bands that its verdict was decided by."""
    found = []
    for page in contents.pages:
        for run in page.runs:
            for line in run.judged if run.machine == machine else ():
                delta = line.outcome.delta
                if line.metric in ACCURACY and delta is not None and line.outcome.verdict in LADDER:
                    name = f"{page.label} {ACCURACY[line.metric]}"
                    bands = _bands(contents, page, run.record, line)
                    draws = _draws(run.record, line)
                    found.append(Delta(name, f"entries/{page.file}", delta, bands, line.outcome.verdict, draws))
    return found


def _bands(contents: Contents, page: Page, record: Record, line: Row) -> tuple[float, ...]:
    """Half widths in AP points, the narrowest first."""
    cell, entry = line.cells[0], page.entry
    if record.trained:
        sigma = entry.seed_sigma.get(line.metric, TRAINING_SIGMA) if entry else TRAINING_SIGMA
        return (training_margin(per_seed(record, line.metric), cell, sigma),)
    noise = contents.evidence.noise_of(record, entry, line.metric) if entry else 0.0
    return (cell.half_unit, cell.half_unit + noise)


def _draws(record: Record, line: Row) -> tuple[float, ...]:
    """Measured minus published of each seed of a training."""
    if not record.trained or spread(record, line.metric) is None:
        return ()
    return tuple(value - line.cells[0].value for value in per_seed(record, line.metric))


def _scatters(contents: Contents, machine: str) -> dict[str, str]:
    """Data set -> plot: the AP of two data sets do not share an axis."""
    points: dict[str, list[Point]] = {}
    for page in contents.pages:
        for run in page.runs:
            latency, ap = run.record.number("latency_ms.p50"), run.record.number("box_AP")
            if run.machine == machine and run.measured and latency is not None and ap is not None:
                point = Point(page.label, f"entries/{page.file}", latency, ap, run.record.measures_the_row, page.zoo)
                points.setdefault(shown_digits(run.row["data"]), []).append(point)
    return {data: scatter_plot(points[data]) for data in sorted(points)}


def _bias_words(bias: Bias) -> dict[str, str]:
    """The cells of a line about a zoo that lies to one side."""
    machine, zoo, metric = bias.group
    return {
        "machine": machine,
        "zoo": zoo,
        "metric": metric,
        "above": str(bias.above),
        "below": str(bias.below),
        "mean difference": f"{bias.mean:+.3f}",
        "probability by chance": f"{bias.probability:.2g}",
    }
