"""The ladder of verdicts: a measured number beside the printed ones, and nothing else in view.

In AP points, with p the published number, u half a unit of its last printed decimal, m the measured number and d the
noise floor of the machine: EXACT |m-p| <= u; NUMERIC <= u+d; EXPLAINED, where one named switch of the protocol brings
every published number of the row inside; else DRIFT. CONFLICT stands before the ladder: the documents of one publisher
disagree among themselves by more than a unit of the last decimal.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import combinations

from zoo.catalog.entry import PublishedCell
from zoo.results.record import Verdict
from zoo.results.statistics import t_quantile

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

LADDER = frozenset({EXACT, NUMERIC, EXPLAINED, DRIFT})
"""The verdicts that hold a number against a printed one that nobody disputes."""

COMPARED = LADDER | {CONFLICT}
"""The verdicts that hold a number against printed ones."""

NOISE = 0.05
"""Noise floor where none was measured, in AP points."""

NOISE_CAP = 0.10
"""A larger one would wave real faults through."""

TRAINING_SIGMA = 0.15
"""Spread of the final AP over training seeds, where an entry's own is not known."""

FEWEST_SEEDS = 3
"""Seeds from which the spread is taken from the runs themselves."""

# Binary floats: 37.45 - 37.4 comes out a little above 0.05. The slack is far below any printed digit.
_SLACK = 1e-9


def verdict(measured: float, cells: Sequence[PublishedCell], *, noise: float = NOISE) -> Verdict:
    """Judge a measured number by the published cells of the same metric.

    Claims of other publishers, or by another protocol than the first cell's, decide nothing: the reason says how the
    number stands beside each of them.

    Args:
        measured: our number.
        cells: one cell a source. The first is the row's own; those of its publisher and protocol must agree with it.
        noise: measured noise floor (A/A runs), in the metric's unit; at most `NOISE_CAP`.

    Raises:
        ValueError: no cells, or a noise floor that would wave real faults through.
    """
    if not cells:
        raise ValueError("a verdict needs at least one published cell")
    if not 0.0 <= noise <= NOISE_CAP:
        raise ValueError(f"noise floor {noise} is outside 0 to {NOISE_CAP}")
    own = carriers(cells)
    notes = [_claim(measured, cell, noise) for cell in cells if cell not in own]
    if in_conflict(own):
        reason = "; ".join([_conflict(measured, own, noise), *notes])
        return Verdict(CONFLICT, printed(cells), measured, None, reason)
    cell = min(own, key=lambda cell: max(abs(measured - cell.value) - cell.half_unit, 0.0))  # the first among equals
    name = _rung(measured, cell, noise)
    if _by_a_unit(own):
        notes.insert(0, f"{_says(own)}; held against {cell.text}")
    if name == NUMERIC:
        notes.insert(0, f"within the noise floor of {noise:g}")
    return Verdict(name, printed(cells), measured, measured - cell.value, "; ".join(notes) or None)


def trained_verdict(values: Sequence[float], cell: PublishedCell, sigma: float = TRAINING_SIGMA) -> Verdict:
    """Judge a model that was trained here: both numbers are draws of one random variable.

    Inside the interval the verdict is NUMERIC, never EXACT: an equal digit is luck, not identity. Published numbers are
    often the best of several trainings, so that the reason says, too, whether ours is below it (one-sided, 5 %).

    Args:
        values: final AP, one a seed; from `FEWEST_SEEDS` on their own spread counts, by Student's t.
        cell: the published number, itself one draw.
        sigma: standard deviation over seeds, where there are fewer.
    """
    if not values:
        raise ValueError("a trained verdict needs the result of at least one seed")
    k, mean = len(values), statistics.fmean(values)
    delta, margin = mean - cell.value, training_margin(values, cell, sigma)
    quantile = t_quantile(0.95, k - 1) if k >= FEWEST_SEEDS else 1.645
    lowest = quantile * _unit(values, sigma) + cell.half_unit
    inside = abs(delta) <= margin + _SLACK
    below = delta < -lowest - _SLACK
    seeds = "1 seed" if k == 1 else f"{k} seeds"
    reason = f"trained here, {seeds}: {'within' if inside else 'outside'} ±{margin:.2f}, {'' if below else 'not '}below"
    return Verdict(NUMERIC if inside else DRIFT, cell.text, mean, delta, reason)


def training_margin(values: Sequence[float], cell: PublishedCell, sigma: float = TRAINING_SIGMA) -> float:
    """How far a mean over seeds may lie from the published number, in AP points; arguments as of `trained_verdict`."""
    k = len(values)
    quantile = t_quantile(0.975, k - 1) if k >= FEWEST_SEEDS else 1.96
    return quantile * _unit(values, sigma) + cell.half_unit


def _unit(values: Sequence[float], sigma: float) -> float:
    """The standard deviation of the difference between a mean over seeds and one more draw."""
    deviation = statistics.stdev(values) if len(values) >= FEWEST_SEEDS else sigma
    return deviation * math.sqrt(1 + 1 / len(values))


def within(value: float, cell: PublishedCell, noise: float) -> bool:
    """Whether a number is the printed one, up to rounding and noise."""
    return abs(value - cell.value) <= cell.half_unit + noise + _SLACK


def carriers(cells: Sequence[PublishedCell]) -> list[PublishedCell]:
    """The cells that print the claim of the first one: of its publisher, by its protocol."""
    return [cell for cell in cells if (cell.publisher, cell.protocol) == (cells[0].publisher, cells[0].protocol)]


def in_conflict(cells: Sequence[PublishedCell]) -> bool:
    """Whether two carriers of one claim differ by more than a unit of the last decimal that both print."""
    return any(_apart(a, b) > 2 for a, b in combinations(cells, 2))


def printed(cells: Sequence[PublishedCell]) -> str:
    """Published cells as one text: the number; all of them where they differ, or one of each hardware."""
    own = carriers(cells)
    if any(_apart(a, b) > 1 for a, b in combinations(own, 2)):
        return " / ".join(dict.fromkeys(cell.text for cell in own))
    by_hardware = {cell.hardware: cell.text for cell in reversed(own) if cell.hardware is not None}
    return " / ".join(reversed(by_hardware.values())) if len(by_hardware) > 1 else own[0].text


def source_of(cell: PublishedCell) -> str:
    """Where a cell was read: "README.md:25"."""
    return cell.source if cell.line is None else f"{cell.source}:{cell.line}"


def digits(value: float, cell: PublishedCell) -> str:
    """A measured number with two digits more than the published one has; a count with its own."""
    return f"{value:.{cell.shown_decimals}f}"


def _rung(measured: float, cell: PublishedCell, noise: float) -> str:
    if within(measured, cell, 0.0):
        return EXACT
    return NUMERIC if within(measured, cell, noise) else DRIFT


def _apart(a: PublishedCell, b: PublishedCell) -> float:
    """How far two numbers differ, in half units of the one with fewer decimals; 0 where they cannot be in dispute.

    37.4 and 37.42 are one number, rounded; and two of different hardware are two numbers.
    """
    if a.hardware != b.hardware and None not in (a.hardware, b.hardware):
        return 0.0
    return abs(a.value - b.value) / max(a.half_unit, b.half_unit) - _SLACK


def _by_a_unit(cells: Sequence[PublishedCell]) -> bool:
    return any(_apart(a, b) > 1 for a, b in combinations(cells, 2))


def _says(cells: Sequence[PublishedCell]) -> str:
    return ", ".join(f"{source_of(cell)} prints {cell.text}" for cell in cells)


def _conflict(measured: float, cells: Sequence[PublishedCell], noise: float) -> str:
    agreeing = dict.fromkeys(cell.text for cell in cells if within(measured, cell, noise))
    return f"{_says(cells)}; measured agrees with {' and '.join(agreeing) or 'none of them'}"


def _claim(measured: float, cell: PublishedCell, noise: float) -> str:
    """How a number stands beside the claim of somebody else, or by another protocol."""
    who = ", ".join(part for part in (cell.publisher, cell.protocol) if part) or "the row's own zoo"
    return f"{source_of(cell)} ({who}) prints {cell.text}: {_rung(measured, cell, noise)}"
