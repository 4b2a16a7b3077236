"""Verdicts: measured beside published, and why the two differ.

In AP points, with p the published number, u half a unit of its last printed decimal, m the measured
number and d the noise floor of the machine, the ladder is: EXACT |m-p| <= u; NUMERIC <= u+d;
EXPLAINED, where one named switch of the protocol would bring m inside; else DRIFT. CONFLICT stands
before the ladder: the documents that print the number disagree among themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TypeAlias

from zoo.catalog.entry import METRICS, ZOO_ORDER, Entry, PublishedCell
from zoo.measure.measurement import metrics
from zoo.results.record import Record, Verdict
from zoo.results.seeds import per_seed

EXACT = "EXACT"
NUMERIC = "NUMERIC"
EXPLAINED = "EXPLAINED"
DRIFT = "DRIFT"
CONFLICT = "CONFLICT"
BLOCKED = "BLOCKED"
FAILED = "FAILED"
PARTIAL = "PARTIAL"
OTHER_WEIGHTS = "OTHER-WEIGHTS"
NOT_COMPARED = "NOT-COMPARED"
NOT_ASKED = "NOT-ASKED"

COMPARED = frozenset({EXACT, NUMERIC, EXPLAINED, DRIFT, CONFLICT})
"""The verdicts that come of a comparison."""

ALARMS = frozenset({DRIFT, CONFLICT, BLOCKED, FAILED})
"""The verdicts that somebody has to look at; one of them makes `zoo diff` exit with 1."""

NOISE = 0.05
NOISE_CAP = 0.10
TRAINING_SIGMA = 0.15
"""Spread of the final AP over training seeds, where an entry's own is not known."""

ONNX_LATENCY = "onnx_latency_ms"
"""The metric of those cells of `latency_ms` that were published for ONNX on a CPU: another program runs the network."""

COMPLEXITY = ("params_m", "flops_b")

# Binary floats: 37.45 - 37.4 comes out a little above 0.05. The slack is far below any printed digit.
_SLACK = 1e-9


def verdict(
    measured: float,
    cells: Sequence[PublishedCell],
    *,
    noise: float = NOISE,
    switched: Mapping[str, float] = {},
) -> Verdict:
    """Judge a measured number by the published cells of the same metric.

    Args:
        measured: our number.
        cells: one cell a source. The first is the row's own; the others must agree with it.
        noise: measured noise floor (A/A runs), in the metric's unit; at most `NOISE_CAP`.
        switched: name of one protocol switch -> what is measured with that switch alone changed.

    Raises:
        ValueError: no cells, or a noise floor that would wave real faults through.
    """
    if not cells:
        raise ValueError("a verdict needs at least one published cell")
    if not 0.0 <= noise <= NOISE_CAP:
        raise ValueError(f"noise floor {noise} is outside 0 to {NOISE_CAP}")
    cell = cells[0]
    if _disagree(cells):
        return Verdict(CONFLICT, printed(cells), measured, None, _conflict_reason(measured, cells, noise))
    delta = measured - cell.value
    if _within(measured, cell, 0.0):
        return Verdict(EXACT, cell.text, measured, delta)
    if _within(measured, cell, noise):
        return Verdict(NUMERIC, cell.text, measured, delta, f"within the noise floor of {noise:g}")
    inside = {name: value for name, value in switched.items() if _within(value, cell, noise)}
    if inside:
        name = min(inside, key=lambda name: (abs(inside[name] - cell.value), name))
        return Verdict(EXPLAINED, cell.text, measured, delta, f"with {name}: {digits(inside[name], cell)}")
    return Verdict(DRIFT, cell.text, measured, delta)


def trained_verdict(values: Sequence[float], cell: PublishedCell, sigma: float = TRAINING_SIGMA) -> Verdict:
    """Judge a model that was trained here: both numbers are draws of one random variable.

    Inside the interval the verdict is NUMERIC, never EXACT: an equal digit is luck, not identity.

    Args:
        values: final AP, one a seed.
        cell: the published number, itself one draw.
        sigma: standard deviation over seeds.
    """
    if not values:
        raise ValueError("a trained verdict needs the result of at least one seed")
    k = len(values)
    mean = math.fsum(values) / k
    margin = 1.96 * sigma * math.sqrt(1 + 1 / k) + cell.half_unit
    inside = abs(mean - cell.value) <= margin + _SLACK
    seeds = "1 seed" if k == 1 else f"{k} seeds"
    reason = f"trained here, {seeds}: {'within' if inside else 'outside'} ±{margin:.2f}"
    return Verdict(NUMERIC if inside else DRIFT, cell.text, mean, mean - cell.value, reason)


def judge(
    record: Record,
    entry: Entry,
    *,
    noise: float = NOISE,
    switched: Mapping[str, Mapping[str, float]] = {},
) -> dict[str, Verdict]:
    """One verdict for each metric that the entry publishes, made from the record alone.

    Args:
        record: the run, complete but for its verdicts.
        entry: the row it is a run of.
        noise: see `verdict`; of the accuracy metrics.
        switched: metric -> switch -> value, see `verdict`.
    """
    found = {}
    for metric, cells in published_cells(entry).items():
        judged = _judge_metric(record, entry, metric, cells, noise, switched.get(metric, {}))
        found[metric] = _with_equivalence(judged, record, metric)
    return found


def hardware_bound(metric: str) -> bool:
    """Whether a metric belongs to the machine it was measured on, so that only ratios may be compared.

    So do the hours of a training, which are published and not measured here.
    """
    _, place = metrics().get(metric, (None, None))
    return metric in METRICS if place is None else place.hardware_bound


def published_cells(entry: Entry) -> dict[str, tuple[PublishedCell, ...]]:
    """The cells that are judged together, by the metric they are measured as, in table order."""
    found: dict[str, tuple[PublishedCell, ...]] = {}
    for metric in entry.published_metrics:
        for cell in entry.cells(metric):
            name = ONNX_LATENCY if metric == "latency_ms" and _on_cpu_by_onnx(cell) else metric
            found[name] = (*found.get(name, ()), cell)
    return found


def _on_cpu_by_onnx(cell: PublishedCell) -> bool:
    return {"CPU", "ONNX"} <= set((cell.hardware or "").replace(",", " ").split())


def _judge_metric(
    record: Record,
    entry: Entry,
    metric: str,
    cells: Sequence[PublishedCell],
    noise: float,
    switched: Mapping[str, float],
) -> Verdict:
    measured = measured_value(record, metric)
    apart = _not_this_row(record, entry)
    if measured is None:
        name, reason = apart or _not_measured(record, metric)
        return Verdict(name, printed(cells), None, None, reason)
    apart = apart or _not_comparable(record, metric, cells, measured)
    if apart is not None:
        name, reason = apart
        return Verdict(name, printed(cells), measured, None, reason)
    if metric in COMPLEXITY:  # counted, not measured: nothing but rounding may part the two
        return verdict(measured, cells, noise=0.0, switched={**_counted_otherwise(record, metric), **switched})
    if record.trained and not _disagree(cells):
        return trained_verdict(per_seed(record, metric), cells[0], entry.seed_sigma.get(metric, TRAINING_SIGMA))
    return verdict(measured, cells, noise=noise, switched=switched)


def _with_equivalence(judged: Verdict, record: Record, metric: str) -> Verdict:
    """A verdict; where it compares numbers of a split that is taken as another one, its reason says so."""
    data = record.data
    if judged.verdict not in COMPARED or metric in COMPLEXITY or data is None or data.equivalent is None:
        return judged
    taken = f"{data.split} is taken as {data.equivalent}: {data.evidence}"
    return replace(judged, reason="; ".join(filter(None, (judged.reason, taken))))


_Apart: TypeAlias = tuple[str, str | None]
"""A verdict that is not a comparison, and its reason."""


def _not_this_row(record: Record, entry: Entry) -> _Apart | None:
    """A run that says nothing of the row: blocked, failed, or of a changed composition."""
    if record.status != "measured":
        return (BLOCKED if record.status == "blocked" else FAILED), record.reason
    if record.identity.changes or record.entry != entry.name:
        return NOT_COMPARED, f"a changed composition of {record.entry}: {', '.join(record.identity.changes)}"
    return None


def _not_measured(record: Record, metric: str) -> _Apart:
    """Why a run says nothing of a metric."""
    name, _ = metrics().get(metric, (None, None))
    reason = record.skipped.get(name) if name else None
    if name in record.parts and metric in record.measured:
        return NOT_COMPARED, "nothing to find: the annotations have no object that it counts"
    return (BLOCKED, reason) if reason else (NOT_ASKED, "the run did not measure it")


def _not_comparable(record: Record, metric: str, cells: Sequence[PublishedCell], measured: float) -> _Apart | None:
    """A number that was measured under other conditions than the published one."""
    if not math.isfinite(measured):
        return FAILED, "the measured value is not a finite number"
    if hardware_bound(metric):
        theirs = " and ".join(sorted({cell.hardware or "unnamed hardware" for cell in cells}))
        return NOT_COMPARED, f"published for {theirs}, measured on {measured_on(record, metric)}"
    return _other_conditions(record, of_split=metric not in COMPLEXITY)


def _other_conditions(record: Record, *, of_split: bool) -> _Apart | None:
    """Other conditions, other data, other weights, not the whole split: in this order, all of them in the reason.

    Args:
        record: the run.
        of_split: whether the number depends on the images.
    """
    data, found = record.data, []
    unlike = [item for item in record.identity.unlike_published if not item.startswith("data.limit=")]
    if not of_split:
        unlike = [item for item in unlike if not item.startswith("data.")]
    if unlike:
        found.append((NOT_COMPARED, f"measured with {', '.join(unlike)}"))
    if of_split and data is not None and not data.known:
        theirs = f"annotations with sha256 {data.annotations_sha256[:8]} are not those of {data.name} {data.split}"
        found.append((NOT_COMPARED, data.difference or theirs))
    if of_split and record.other_training_data is not None:
        found.append((NOT_COMPARED, f"trained on other data: {record.other_training_data}"))
    if record.other_weights:
        own_training = "its training began with another file than the recipe's"
        found.append((OTHER_WEIGHTS, own_training if record.trained else "not the published checkpoint file"))
    if of_split and (data is None or data.partial):
        images = "" if data is None else f": {data.images} images"
        found.append((PARTIAL, f"not the whole split{images}"))
    if not found:
        return None
    return found[0][0], "; ".join(reason for _, reason in found)


def measured_value(record: Record, metric: str) -> float | None:
    """A record's value of a published metric, in the unit that tables print it in."""
    _, place = metrics().get(metric, (None, None))
    value = None if place is None else record.number(place.key)
    return None if value is None or place is None else value * place.scale


def _counted_otherwise(record: Record, metric: str) -> Mapping[str, float]:
    """The same work by the counting of the published table, where the protocol names one."""
    other = record.measured.get("flops_published_counting") if metric == "flops_b" else None
    return {f"the counting of {other['counter']}": other["flops"] * 1e-9} if isinstance(other, Mapping) else {}


def printed(cells: Sequence[PublishedCell]) -> str:
    """Published cells as one text: the number; all of them where they differ, or one of each hardware."""
    if _disagree(cells):
        return " / ".join(dict.fromkeys(cell.text for cell in cells))
    by_hardware = {cell.hardware: cell.text for cell in reversed(cells) if cell.hardware is not None}
    return " / ".join(reversed(by_hardware.values())) if len(by_hardware) > 1 else cells[0].text


def source_of(cell: PublishedCell) -> str:
    """Where a cell was read: "README.md:25"."""
    return cell.source if cell.line is None else f"{cell.source}:{cell.line}"


def machine_of(record: Record) -> str:
    """The machine of a record, as tables name it."""
    return record.hardware_id or "no machine"


def measured_on(record: Record, metric: str) -> str:
    """What a number of a record holds for: its machine, or the CPU and the program that an exported network ran on."""
    onnx = record.measured.get(ONNX_LATENCY) if metric == ONNX_LATENCY else None
    if not isinstance(onnx, Mapping):
        return machine_of(record)
    threads = f"{onnx['threads']} thread{'s' if onnx['threads'] > 1 else ''}"
    return f"{onnx['cpu']}, onnxruntime {onnx['onnxruntime']}, {threads}"


def catalogue_key(zoo: str, name: str) -> tuple[int, str, str]:
    """Sorts rows as the catalogue has them: the zoos in their order, then by name."""
    return (ZOO_ORDER.index(zoo) if zoo in ZOO_ORDER else len(ZOO_ORDER), zoo, name)


def _within(value: float, cell: PublishedCell, noise: float) -> bool:
    return abs(value - cell.value) <= cell.half_unit + noise + _SLACK


def _disagree(cells: Sequence[PublishedCell]) -> bool:
    """Whether two sources print different numbers; 37.4 and 37.42 are one number, rounded.

    Two of different hardware are two numbers, not one in dispute.
    """
    return any(
        abs(a.value - b.value) > max(a.half_unit, b.half_unit) + _SLACK
        for a, b in combinations(cells, 2)
        if a.hardware == b.hardware or None in (a.hardware, b.hardware)
    )


def _conflict_reason(measured: float, cells: Sequence[PublishedCell], noise: float) -> str:
    says = ", ".join(f"{source_of(cell)} prints {cell.text}" for cell in cells)
    agreeing = dict.fromkeys(cell.text for cell in cells if _within(measured, cell, noise))
    return f"{says}; measured agrees with {' and '.join(agreeing) or 'none of them'}"


def digits(value: float, cell: PublishedCell) -> str:
    """A measured number with two digits more than the published one has."""
    return f"{value:.{cell.decimals + 2}f}"
