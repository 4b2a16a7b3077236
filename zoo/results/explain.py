"""`zoo explain`: what each switch makes of every published accuracy of a row, and which of them is to blame.

The verdict is that of `zoo.results.verdict`, guards and all. What stands here shows it: a line a switch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.catalog.entry import Entry, PublishedCell
from zoo.catalog.switches import Switch
from zoo.measure.measurement import measurement
from zoo.results.attribution import Trial
from zoo.results.evidence import NOTHING, Evidence, row_key
from zoo.results.ladder import ALARMS, DRIFT, EXPLAINED, carriers, printed, within
from zoo.results.published import measured_value, published_cells
from zoo.results.record import Record, Verdict
from zoo.results.trials import ACCURACY
from zoo.results.verdict import judge
from zoo.schema import plain
from zoo.terminal import ABSENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Untried:
    """A switch that says nothing of a row.

    Attributes:
        switch: its name.
        reason: why not, as the end of a sentence.
    """

    switch: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What was found out about a row.

    Attributes:
        entry: the row.
        record: its run.
        evidence: what other records say, the trials among it.
        switches: the list that was asked for.
        untried: those of it that could not be tried.
    """

    entry: Entry
    record: Record
    evidence: Evidence = NOTHING
    switches: Sequence[Switch] = ()
    untried: Sequence[Untried] = ()

    @property
    def cells(self) -> dict[str, tuple[PublishedCell, ...]]:
        """The published cells of each accuracy that the row publishes."""
        known = measurement(ACCURACY).metrics
        return {metric: cells for metric, cells in published_cells(self.entry).items() if metric in known}

    @property
    def trials(self) -> Sequence[Trial]:
        """What was tried, in the order of the list."""
        return self.evidence.trials.get(row_key(self.record), ())

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """Published accuracy -> verdict."""
        judged = judge(self.record, self.entry, self.evidence)
        return {metric: judged[metric] for metric in self.cells}

    @property
    def is_alarm(self) -> bool:
        """Whether somebody has to look at the row."""
        return any(outcome.verdict in ALARMS for outcome in self.verdicts.values())

    @property
    def is_off(self) -> bool:
        """Whether there is something to explain: a published accuracy that the run does not meet."""
        return any(outcome.verdict in (DRIFT, EXPLAINED) for outcome in self.verdicts.values())

    def met(self, values: Mapping[str, float | None]) -> list[str]:
        """The published accuracies that some values meet."""
        found = []
        for metric, cells in self.cells.items():
            value, noise = values.get(metric), self.evidence.noise_of(self.record, self.entry, metric)
            if value is not None and any(within(value, cell, noise) for cell in carriers(cells)):
                found.append(metric)
        return found

    @property
    def named(self) -> str | None:
        """The switch that explains the row; None where none does, or several could."""
        if EXPLAINED not in {outcome.verdict for outcome in self.verdicts.values()}:
            return None
        return next(trial.switch for trial in self.trials if self.met(trial.values) == list(self.cells))


def explanation_rows(explained: Explanation, *, full: bool = False) -> list[dict[str, str]]:
    """What is published, what was measured, and a line a switch.

    Args:
        explained: what was found out.
        full: every digit of a number.
    """
    tiers = {switch.name: str(switch.tier) for switch in explained.switches}
    measured = {metric: measured_value(explained.record, metric) for metric in explained.cells}
    lines = [
        _line("published", {metric: printed(cells) for metric, cells in explained.cells.items()}),
        _line("measured", _texts(measured, full), meets=_met(explained, measured)),
    ]
    for trial in explained.trials:
        values = {metric: trial.values.get(metric) for metric in explained.cells}
        more = {"meets": _met(explained, values), "tier": tiers[trial.switch], "named by": trial.source}
        lines.append(_line(trial.switch, _texts(values, full), **more))
    nothing = dict.fromkeys(explained.cells, ABSENT)
    lines += [_line(one.switch, nothing, tier=tiers[one.switch], note=one.reason) for one in explained.untried]
    return lines


def explanation_document(explained: Explanation) -> dict[str, Any]:
    """Everything, with every digit."""
    tiers = {switch.name: switch.tier for switch in explained.switches}
    record = explained.record
    return {
        "entry": record.entry,
        "run": record.label,
        "machine": record.hardware_id,
        "published": {metric: [plain(cell) for cell in cells] for metric, cells in explained.cells.items()},
        "measured": {metric: measured_value(record, metric) for metric in explained.cells},
        "noise": {metric: explained.evidence.noise_of(record, explained.entry, metric) for metric in explained.cells},
        "tried": [
            {
                "switch": trial.switch,
                "tier": tiers[trial.switch],
                "source": trial.source,
                "values": {metric: trial.values.get(metric) for metric in explained.cells},
                "meets": explained.met(trial.values),
            }
            for trial in explained.trials
        ],
        "untried": [plain(one) for one in explained.untried],
        "verdicts": {metric: plain(outcome) for metric, outcome in explained.verdicts.items()},
        "named": explained.named,
    }


def _line(name: str, values: Mapping[str, str], **more: str) -> dict[str, str]:
    return {"switch": name, **values, "meets": "", "tier": "", "named by": "", "note": "", **more}


def _texts(values: Mapping[str, float | None], full: bool) -> dict[str, str]:
    return {
        metric: ABSENT if value is None else repr(value) if full else f"{value:.2f}" for metric, value in values.items()
    }


def _met(explained: Explanation, values: Mapping[str, float | None]) -> str:
    return f"{len(explained.met(values))} of {len(explained.cells)}"
