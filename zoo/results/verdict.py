"""Verdicts: measured beside published, and why the two differ, made anew whenever a record is read.

The ladder of a number is `zoo.results.ladder`, the switch that accounts for a difference `zoo.results.attribution`,
what other records contribute `zoo.results.evidence`; this module says first whether the two may be compared at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from zoo.catalog.entry import Entry, PublishedCell
from zoo.measure.measurement import metrics
from zoo.results.attribution import attribute
from zoo.results.evidence import NOTHING, Evidence, row_key
from zoo.results.ladder import (
    BLOCKED,
    COMPARED,
    DRIFT,
    EXPLAINED,
    FAILED,
    NOT_ASKED,
    NOT_COMPARED,
    NUMERIC,
    OTHER_WEIGHTS,
    PARTIAL,
    TRAINING_SIGMA,
    carriers,
    digits,
    in_conflict,
    printed,
    trained_verdict,
    verdict,
    within,
)
from zoo.results.published import (
    FILE_SIZE,
    hardware_bound,
    measured_on,
    measured_value,
    published_cells,
    unlike_apart_from_data,
)
from zoo.results.record import Record, Verdict
from zoo.results.seeds import per_seed

COUNTED = ("params_m", "flops_b", "params", "gmacs", FILE_SIZE)
"""Metrics of which every exact count is the same number: they depend on no image, and have no noise."""

RATIO_TOLERANCE = {"train_memory_gb": 0.15, "train_memory_mb": 0.15}
"""How far the ratio of measured to published may lie from its zoo's median, as a share of it."""

SPEED_TOLERANCE = 0.30
"""The same of every other number of the machine."""


def judge(record: Record, entry: Entry, evidence: Evidence = NOTHING) -> dict[str, Verdict]:
    """One verdict for each metric that the entry publishes.

    Args:
        record: the run, complete but for its verdicts.
        entry: the row it is a run of.
        evidence: what other records say.
    """
    outcomes = unattributed(record, entry, evidence)
    if not record.trained:
        cells, key = published_cells(entry), row_key(record)
        noise = {metric: evidence.noise_of(record, entry, metric) for metric in cells}
        trials, further_rows = evidence.trials.get(key, ()), evidence.further_rows.get(key, {})
        outcomes = attribute(outcomes, cells, trials, noise, further_rows)
    noted = {metric: _with_note(outcome, record, metric) for metric, outcome in outcomes.items()}
    return {metric: _with_equivalence(outcome, record, metric) for metric, outcome in noted.items()}


def unattributed(record: Record, entry: Entry, evidence: Evidence = NOTHING) -> dict[str, Verdict]:
    """The verdicts of `judge` before any trial is asked what accounts for a difference."""
    return {
        metric: _judge_metric(record, entry, metric, cells, evidence)
        for metric, cells in published_cells(entry).items()
    }


def _judge_metric(
    record: Record, entry: Entry, metric: str, cells: Sequence[PublishedCell], evidence: Evidence
) -> Verdict:
    measured = measured_value(record, metric)
    apart = _not_this_row(record, entry)
    if measured is None:
        name, reason = apart or _not_measured(record, metric)
        return Verdict(name, printed(cells), None, None, reason)
    bound = hardware_bound(metric)
    apart = apart or _not_comparable(record, metric, measured)
    if apart is not None:
        name, reason = apart
        return Verdict(name, printed(cells), measured, None, reason)
    if bound:
        return _ratio(record, metric, cells, measured, evidence)
    if metric in COUNTED:  # counted, not measured: nothing but rounding may part the two
        return _counted(record, metric, verdict(measured, cells, noise=0.0), cells[0])
    if record.trained and not in_conflict(carriers(cells)):
        return trained_verdict(per_seed(record, metric), cells[0], entry.seed_sigma.get(metric, TRAINING_SIGMA))
    return verdict(measured, cells, noise=evidence.noise_of(record, entry, metric))


def _ratio(record: Record, metric: str, cells: Sequence[PublishedCell], measured: float, evidence: Evidence) -> Verdict:
    """A number of the machine: its ratio to the published one, beside that of the zoo's other rows."""
    place = measured_on(record, metric)
    tolerance = RATIO_TOLERANCE.get(metric, SPEED_TOLERANCE)
    for cell in cells:
        usual = evidence.usual_ratio(record, metric, cell)
        if usual is None or not cell.value:
            continue
        median, rows = usual
        share = measured / cell.value / median
        reason = (
            f"{measured / cell.value:.2f} of {cell.text} on {cell.hardware or 'unnamed hardware'}; the median of the "
            f"zoo's {rows} rows on {place} is {median:.2f}: {share:.2f} of it, "
            f"{'within' if abs(share - 1) <= tolerance else 'outside'} ±{tolerance:.0%}"
        )
        return Verdict(NUMERIC if abs(share - 1) <= tolerance else DRIFT, printed(cells), measured, None, reason)
    theirs = " and ".join(sorted({cell.hardware or "unnamed hardware" for cell in cells}))
    return Verdict(NOT_COMPARED, printed(cells), measured, None, f"published for {theirs}, measured on {place}")


def _counted(record: Record, metric: str, outcome: Verdict, cell: PublishedCell) -> Verdict:
    """A count that differs, where the counting that the published table names accounts for it, or was of other work."""
    if outcome.verdict != DRIFT:
        return outcome
    if cell.protocol is not None:
        return Verdict(NOT_COMPARED, outcome.published, outcome.measured, None, f"published {cell.protocol}")
    other = record.measured.get("flops_published_counting") if metric == "flops_b" else None
    if not isinstance(other, Mapping):
        return outcome
    counted = other["flops"] * 1e-9
    if not within(counted, cell, 0.0):
        return outcome
    return replace(
        outcome, verdict=EXPLAINED, reason=f"with the counting of {other['counter']}: {digits(counted, cell)}"
    )


def _with_equivalence(judged: Verdict, record: Record, metric: str) -> Verdict:
    """A verdict; where it compares numbers of a split that is taken as another one, its reason says so."""
    data = record.data
    of_split = metric not in COUNTED and not hardware_bound(metric)
    if judged.verdict not in COMPARED or not of_split or data is None or data.equivalent is None:
        return judged
    taken = f"{data.split} is taken as {data.equivalent}: {data.evidence}"
    return replace(judged, reason="; ".join(filter(None, (judged.reason, taken))))


def _with_note(judged: Verdict, record: Record, metric: str) -> Verdict:
    """A verdict; where its number is a speed, the reason says what was amiss while it was measured."""
    measurement, _ = metrics().get(metric, (None, None))
    note = record.text("timed.note") if measurement == "speed" and judged.measured is not None else None
    return replace(judged, reason="; ".join(filter(None, (judged.reason, note)))) if note else judged


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


def _not_comparable(record: Record, metric: str, measured: float) -> _Apart | None:
    """A number that was measured under other conditions than the published one."""
    if not math.isfinite(measured):
        return FAILED, "the measured value is not a finite number"
    if hardware_bound(metric):  # neither images nor the values of weights make a machine faster
        unlike = unlike_apart_from_data(record)
        return (NOT_COMPARED, f"measured with {', '.join(unlike)}") if unlike else None
    return _other_conditions(record, of_split=metric not in COUNTED)


def _other_conditions(record: Record, *, of_split: bool) -> _Apart | None:
    """Other conditions, other data, other weights, not the whole split: in this order, all of them in the reason.

    Args:
        record: the run.
        of_split: whether the number depends on the images.
    """
    data, found = record.data, []
    unlike = [item for item in record.identity.unlike_published if not item.startswith("data.limit=")]
    unlike = unlike if of_split else unlike_apart_from_data(record)
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
