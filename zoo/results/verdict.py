"""Verdicts: measured beside published, and why the two differ.

In AP points, with p the published number, u half a unit of its last printed decimal, m the measured
number and d the noise floor of the machine, the ladder is: EXACT |m-p| <= u; NUMERIC <= u+d;
EXPLAINED, where one named switch of the protocol would bring m inside; else DRIFT. CONFLICT stands
before the ladder: the documents that print the number disagree among themselves.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeAlias

from zoo.catalog.entry import ZOO_ORDER, Entry, PublishedCell
from zoo.results.record import Record

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

ALARMS = frozenset({DRIFT, CONFLICT, BLOCKED, FAILED})
"""The verdicts that somebody has to look at; one of them makes `zoo diff` exit with 1."""

NOISE = 0.05
NOISE_CAP = 0.10
TRAINING_SIGMA = 0.15
"""Spread of the final AP over training seeds, where an entry's own is not known."""

ONNX_LATENCY = "onnx_latency_ms"
"""The metric of those cells of `latency_ms` that were published for ONNX on a CPU: another program runs the network."""

HARDWARE_BOUND = ("fps", "latency_ms", ONNX_LATENCY, "train_memory_gb")
COMPLEXITY = ("params_m", "flops_b")

# Binary floats: 37.45 - 37.4 comes out a little above 0.05. The slack is far below any printed digit.
_SLACK = 1e-9

# The data set that published numbers are of, where an entry does not name another.
_PUBLISHED_DATA = "coco2017"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement on one published number.

    Attributes:
        verdict: one of the constants of this module.
        published: the number as printed; "41.2 / 41.5" where sources disagree.
        measured: ours, in the same unit; None where there is none.
        delta: measured minus published; None where the two are not compared.
        reason: what explains the verdict, where the numbers alone do not.
    """

    verdict: str
    published: str
    measured: float | None
    delta: float | None = None
    reason: str | None = None


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
) -> dict[str, dict[str, Any]]:
    """The `verdict` field of a record: one verdict for each metric the entry publishes.

    Args:
        record: the run, complete but for its verdicts.
        entry: the row it is a run of.
        noise: see `verdict`; of the accuracy metrics.
        switched: metric -> switch -> value, see `verdict`.
    """
    return {
        metric: dataclasses.asdict(_judge_metric(record, entry, metric, cells, noise, switched.get(metric, {})))
        for metric, cells in published_cells(entry).items()
    }


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
    apart = apart or _not_comparable(record, entry, metric, cells, measured)
    if apart is not None:
        name, reason = apart
        return Verdict(name, printed(cells), measured, None, reason)
    if metric in COMPLEXITY:  # counted, not measured: nothing but rounding may part the two
        return verdict(measured, cells, noise=0.0, switched={**_counted_otherwise(record, metric), **switched})
    if trained_here(record) and not _disagree(cells):
        return trained_verdict((record.measured.get("draws") or {}).get(metric, [measured]), cells[0])
    return verdict(measured, cells, noise=noise, switched=switched)


def trained_here(record: Record) -> bool:
    """Whether a record is of weights that its run trained."""
    config = record.protocol.get("config") or {}
    return (config.get("run") or {}).get("name") == "train"


_Apart: TypeAlias = tuple[str, str | None]
"""A verdict that is not a comparison, and its reason."""


def _not_this_row(record: Record, entry: Entry) -> _Apart | None:
    """A run that says nothing of the row: blocked, failed, or of a changed composition."""
    if record.status != "measured":
        return (BLOCKED if record.status == "blocked" else FAILED), record.reason
    if record.based_on is not None or record.entry != entry.name:
        return NOT_COMPARED, f"a changed composition of {record.based_on or entry.name}"
    return None


def _begun_otherwise(record: Record) -> bool:
    asked = (record.protocol.get("config") or {}).get("checkpoint") or {}
    return any(asked.get(key) is not None for key in ("path", "url"))


def _not_measured(record: Record, metric: str) -> _Apart:
    """Why a run says nothing of a metric."""
    reason = (record.measured.get("unmeasured") or {}).get(metric)
    return (BLOCKED, reason) if reason else (NOT_ASKED, "the run did not measure it")


def _not_comparable(
    record: Record, entry: Entry, metric: str, cells: Sequence[PublishedCell], measured: float
) -> _Apart | None:
    """A number that was measured under other conditions than the published one."""
    if not math.isfinite(measured):
        return FAILED, "the measured value is not a finite number"
    if metric in HARDWARE_BOUND:
        theirs = " and ".join(sorted({cell.hardware or "unnamed hardware" for cell in cells}))
        return NOT_COMPARED, f"published for {theirs}, measured on {measured_on(record, metric)}"
    return _other_conditions(record, entry, metric)


def _other_conditions(record: Record, entry: Entry, metric: str) -> _Apart | None:
    """Other data, other weights, not the whole split: in this order, all of them in the reason."""
    of_split = metric not in COMPLEXITY
    expected = entry.parts.get("data", _PUBLISHED_DATA)
    data = record.data.get("name", expected)
    found = []
    if of_split and data != expected:
        found.append((NOT_COMPARED, f"measured on {data}, published for {expected}"))
    if record.checkpoint.get("hash_evidence") == "other weights":
        found.append((OTHER_WEIGHTS, "not the published checkpoint file"))
    if of_split and trained_here(record) and _begun_otherwise(record):
        found.append((OTHER_WEIGHTS, "its training began with another file than the recipe's"))
    if of_split and record.data.get("partial", True):
        images = record.data.get("images")
        part = "not the whole split" if images is None else f"not the whole split: {images} images"
        found.append((PARTIAL, part))
    if not found:
        return None
    return found[0][0], "; ".join(reason for _, reason in found)


def measured_value(record: Record, metric: str) -> float | None:
    """A record's value of a published metric, in the unit that tables print it in."""
    measured = record.measured
    if metric in ("latency_ms", ONNX_LATENCY):
        value = (measured.get(metric) or {}).get("p50")
    elif metric == "params_m":
        value = _scaled(measured.get("params"), 1e-6)
    elif metric == "flops_b":  # one multiply-accumulate is two operations
        value = _scaled(measured.get("macs"), 2e-9)
    else:
        value = measured.get(metric)
    return None if value is None else float(value)


def _counted_otherwise(record: Record, metric: str) -> Mapping[str, float]:
    """The same work by the counting of the published table, where the protocol names one."""
    other = record.measured.get("flops_published_counting") if metric == "flops_b" else None
    return {f"the counting of {other['counter']}": other["flops"] * 1e-9} if other else {}


def current_verdicts(record: Record, entry: Entry) -> dict[str, Verdict]:
    """A record's own verdicts, or new ones where the published cells have changed since the run.

    The stored ones may know a switch or a noise floor that the record alone does not tell.
    """
    today = {metric: printed(cells) for metric, cells in published_cells(entry).items()}
    stored = {metric: cell.get("published") for metric, cell in record.verdict.items()}
    chosen = record.verdict if stored == today else judge(record, entry)
    return {metric: Verdict(**chosen[metric]) for metric in today}


def printed(cells: Sequence[PublishedCell]) -> str:
    """Published cells as one text: the number; all of them where they differ, or one of each hardware."""
    if _disagree(cells):
        return " / ".join(dict.fromkeys(cell.text for cell in cells))
    by_hardware = {cell.hardware: cell.text for cell in reversed(cells) if cell.hardware is not None}
    return " / ".join(reversed(by_hardware.values())) if len(by_hardware) > 1 else cells[0].text


def source_of(cell: PublishedCell) -> str:
    """Where a cell was read: "README.md:25"."""
    return cell.source if cell.line is None else f"{cell.source}:{cell.line}"


def hardware_id(record: Record) -> str:
    """The machine of a record, as it names its folder in the ledger."""
    return str(record.hardware.get("id", "unknown"))


def measured_on(record: Record, metric: str) -> str:
    """What a number of a record holds for: its machine, or the CPU and the program that an exported network ran on."""
    onnx = record.measured.get(ONNX_LATENCY) if metric == ONNX_LATENCY else None
    if not onnx:
        return hardware_id(record)
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


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def digits(value: float, cell: PublishedCell) -> str:
    """A measured number with two digits more than the published one has."""
    return f"{value:.{cell.decimals + 2}f}"
