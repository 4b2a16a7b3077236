"""EXPLAINED: the one switch of the protocol that accounts for a difference, named only where nothing else could be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from zoo.catalog.entry import PublishedCell
from zoo.measure.measurement import measurements
from zoo.results.ladder import DRIFT, EXACT, EXPLAINED, NUMERIC, carriers, digits, within
from zoo.results.record import Verdict

ENOUGH_METRICS = 3
"""Published accuracy metrics by which a row names a switch without the help of others: one fits by chance."""

FURTHER_ROWS = 2
"""Rows of the same zoo that the switch has to account for as well, with the same sign, where a row has fewer."""

_JUDGED = (EXACT, NUMERIC, DRIFT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A run of the row with one named switch of its protocol changed, and nothing else.

    Attributes:
        switch: its name.
        source: the document that names it.
        values: published metric -> what was measured so.
    """

    switch: str
    source: str
    values: Mapping[str, float]


Cells = Mapping[str, Sequence[PublishedCell]]
"""Published metric -> its cells."""

Noise = Mapping[str, float]
"""Published metric -> noise floor, in its unit."""


def accounting(outcomes: Mapping[str, Verdict], cells: Cells, trials: Sequence[Trial], noise: Noise) -> list[Trial]:
    """The trials that bring every published accuracy metric of a row inside; none where the row is inside already.

    Args:
        outcomes: published metric -> verdict without any trial.
        cells: published metric -> its cells.
        trials: one a switch.
        noise: published metric -> noise floor.
    """
    metrics = _metrics(outcomes)
    if all(outcomes[metric].verdict != DRIFT for metric in metrics):
        return []
    return [trial for trial in trials if all(_fits(trial, metric, cells[metric], noise[metric]) for metric in metrics)]


def sign_of(outcomes: Mapping[str, Verdict]) -> int:
    """Whether a row is above what was published, 1, or below, -1, by its first accuracy metric outside."""
    deltas = [outcomes[metric].delta or 0.0 for metric in _metrics(outcomes) if outcomes[metric].verdict == DRIFT]
    return 0 if not deltas else 1 if deltas[0] > 0 else -1


def attribute(
    outcomes: Mapping[str, Verdict],
    cells: Cells,
    trials: Sequence[Trial],
    noise: Noise,
    further_rows: Mapping[str, int],
) -> dict[str, Verdict]:
    """The verdicts with what the trials say of those outside.

    Args:
        outcomes: published metric -> verdict without any trial.
        cells: published metric -> its cells.
        trials: one a switch.
        noise: published metric -> noise floor.
        further_rows: switch -> other rows of the zoo that it accounts for, with the same sign.
    """
    metrics = _metrics(outcomes)
    outside = [metric for metric in metrics if outcomes[metric].verdict == DRIFT]
    if not outside or not trials:
        return dict(outcomes)
    named = accounting(outcomes, cells, trials, noise)
    few = len(metrics) < ENOUGH_METRICS
    tried = f"{len(trials)} switch{'es' if len(trials) > 1 else ''} tried"
    found = dict(outcomes)
    for metric in outside:
        outcome, cell = outcomes[metric], cells[metric][0]
        if len(named) == 1 and (not few or further_rows.get(named[0].switch, 0) >= FURTHER_ROWS):
            only = named[0]
            reason = f"with {only.switch} ({only.source}): {digits(only.values[metric], cell)}; {tried}"
            found[metric] = _with(replace(outcome, verdict=EXPLAINED), reason)
        elif len(named) == 1:
            reason = (
                f"with {named[0].switch}: {digits(named[0].values[metric], cell)}; of a row with {len(metrics)} "
                f"published metric{'s' if len(metrics) > 1 else ''} it is named only once {FURTHER_ROWS} further "
                f"rows of the zoo say the same; {tried}"
            )
            found[metric] = _with(outcome, reason)
        elif named:
            both = " and ".join(f"{trial.switch} ({digits(trial.values[metric], cell)})" for trial in named)
            found[metric] = _with(outcome, f"{both} each bring every published number inside; {tried}")
        else:
            found[metric] = _with(outcome, f"{_candidate(metric, cell, outcome, trials)}; {tried}")
    return found


def _metrics(outcomes: Mapping[str, Verdict]) -> list[str]:
    """The accuracy metrics that were compared, in the order of the table."""
    known = measurements()["accuracy"].metrics
    return [metric for metric, outcome in outcomes.items() if metric in known and outcome.verdict in _JUDGED]


def _fits(trial: Trial, metric: str, cells: Sequence[PublishedCell], noise: float) -> bool:
    value = trial.values.get(metric)
    return value is not None and any(within(value, cell, noise) for cell in carriers(cells))


def _candidate(metric: str, cell: PublishedCell, outcome: Verdict, trials: Sequence[Trial]) -> str:
    """The switch that comes nearest to the printed number, if one comes nearer than none."""
    near = [trial for trial in trials if metric in trial.values]
    best = min(near, key=lambda trial: (abs(trial.values[metric] - cell.value), trial.switch), default=None)
    if best is None or abs(best.values[metric] - cell.value) >= abs(outcome.delta or 0.0):
        return "no switch brings it nearer"
    return f"best candidate: {best.switch} ({digits(best.values[metric], cell)})"


def _with(outcome: Verdict, reason: str) -> Verdict:
    return replace(outcome, reason="; ".join(filter(None, (outcome.reason, reason))))
