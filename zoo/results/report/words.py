"""The words of the report: every verdict in the order in which it is shown, what it means, and how it looks."""

from __future__ import annotations

from zoo.results.ladder import (
    BLOCKED,
    CONFLICT,
    DRIFT,
    EXACT,
    EXPLAINED,
    FAILED,
    NOT_ASKED,
    NOT_COMPARED,
    NUMERIC,
    OTHER_WEIGHTS,
    PARTIAL,
)

NO_RECORD = "NO-RECORD"
"""What stands in the place of a verdict where nobody tried."""

MEANINGS = {
    EXACT: "equal to the printed digits",
    NUMERIC: "within the noise floor; of a training: within what seeds account for",
    EXPLAINED: "one named switch of the protocol accounts for the difference",
    DRIFT: "nothing does",
    CONFLICT: "the published numbers disagree among themselves",
    BLOCKED: "something that the run needs could not be had",
    FAILED: "the run broke",
    PARTIAL: "part of a split: stands beside the published number, never against it",
    OTHER_WEIGHTS: "not the published file: likewise",
    NOT_COMPARED: "other conditions, other data, a changed composition, or another machine: likewise",
    NOT_ASKED: "the run did not measure it",
    NO_RECORD: "nobody tried",
}
"""Verdict -> meaning: first what holds, then what does not, then what says nothing."""

VERDICTS = tuple(MEANINGS)


def verdict_class(verdict: str) -> str:
    """The style of a verdict: "OTHER-WEIGHTS" -> "v-other-weights"."""
    return "v-" + "".join(c if c.isascii() and c.isalnum() else "-" for c in verdict.lower())
