"""A whole zoo to one side: what no single row shows, because each lies within rounding and noise."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zoo.results.statistics import holm, sign_test

SIGNIFICANT = 0.01
"""Probability of so uneven a zoo by chance, over all tests of a diff, below which it is an alarm."""

FEWEST_ROWS = 6
"""Rows without which a sign test can say nothing."""

Group = tuple[str, str, str]
"""Machine, zoo, metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bias:
    """Rows of a zoo that lie to one side of what was published.

    Attributes:
        group: machine, zoo and metric.
        above: rows above.
        below: rows below.
        mean: mean of measured minus published, not rounded.
        probability: of so uneven a split by chance, adjusted for the number of tests.
    """

    group: Group
    above: int
    below: int
    mean: float
    probability: float

    @property
    def sentence(self) -> str:
        """What a diff says of it."""
        _, zoo, metric = self.group
        side, count = ("above", self.above) if self.above > self.below else ("below", self.below)
        return (
            f"{zoo}: {count} of {self.above + self.below} rows lie {side} the published {metric}, by {self.mean:+.3f} "
            f"on average (sign test with Holm's adjustment, p = {self.probability:.2g}): something that all rows share"
        )


def find_biases(deltas: Mapping[Group, Sequence[float]]) -> list[Bias]:
    """The groups of rows that chance does not account for.

    Args:
        deltas: measured minus published of each row, not rounded; equal ones count on neither side.
    """
    signs = {
        group: (sum(value > 0 for value in values), sum(value < 0 for value in values))
        for group, values in deltas.items()
    }
    tested = {group: sign_test(*counts) for group, counts in signs.items() if sum(counts) >= FEWEST_ROWS}
    return [
        Bias(
            group=group,
            above=signs[group][0],
            below=signs[group][1],
            mean=statistics.fmean(deltas[group]),
            probability=probability,
        )
        for group, probability in sorted(holm(tested).items())
        if probability < SIGNIFICANT
    ]
