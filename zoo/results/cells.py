"""The cells of tables: numbers of a record with fixed decimals, and when and by which code each was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zoo.measure.measurement import Column, Measurement, measurements
from zoo.results.record import Record
from zoo.results.seeds import spread
from zoo.runtime.provenance import Code
from zoo.terminal import ABSENT, PLAIN, Layout, table

MISSING = "-"
"""What a table shows of a row that has no record on its machine."""

COMMIT_DIGITS = 8
"""Hex digits of a commit that tables show."""

WEIGHTS_DIGITS = 8
"""Hex digits of the weights' sha256 that tables show."""


def cell(record: Record, column: Column) -> str:
    """A number, or which of the ways of not being there it has."""
    for key in column.keys:
        if column.decimals is None:
            shown = record.text(key)
        else:
            value = record.number(key)
            shown = None if value is None else f"{value * column.scale:.{column.decimals}f}" + _spread(record, key)
        if shown is not None:
            return shown
    return ABSENT if record.status == "measured" else record.status.upper()


def as_text(value: object) -> str:
    """Any value as a cell."""
    return ABSENT if value is None else str(value)


def number_text(value: float | None, sign: str = "") -> str:
    """A number with six significant digits, as comparisons of measured numbers show it.

    Args:
        value: the number; a dash stands for None.
        sign: "+" shows the sign of a positive one too.
    """
    return ABSENT if value is None else f"{value:{sign}.6g}"


def weights(record: Record) -> str:
    """The beginning of the sha256 of the weights; a dash for a run that did not get so far."""
    return as_text(record.checkpoint and record.checkpoint.sha256)[:WEIGHTS_DIGITS]


def commit(code: Code) -> str:
    """The beginning of a commit, with a word where the checkout had changes besides."""
    shown = as_text(code.commit)[:COMMIT_DIGITS]
    return f"{shown}+dirty" if code.dirty else shown


def provenance(record: Record) -> dict[str, str]:
    """The date, the commit and the version of every measurement of a record, each a column of its own.

    Numbers of one record may come from several runs; of several seeds they are those of the last run. The version of
    accuracy is that of the protocol, which has a column of its own.
    """
    found: dict[str, str] = {}
    for name, measurement in measurements().items():
        part = record.parts.get(name)
        if part is None:
            values = dict.fromkeys(("date", "commit", "version"), _no_part(record, measurement))
        else:
            values = {"date": part.finished[:10], "commit": commit(part.code), "version": str(part.version)}
        if measurement.version is None:
            del values["version"]
        found |= {f"{name}_{what}": value for what, value in values.items()}
    return found


def stamp(row: Mapping[str, str], measurement: str) -> str:
    """When and by which commit a measurement of a row was made, as one text; or why there is none."""
    return " ".join(dict.fromkeys((row[f"{measurement}_date"], row[f"{measurement}_commit"])))


def protocol_version(record: Record) -> int | None:
    """The version of the protocol that a record's accuracy was measured by; None for a run that had none."""
    part = record.parts.get("accuracy")
    return part.version if part is not None else record.protocol.version or None


def markdown_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows, all with the same columns, as a table of GitHub's Markdown."""
    from tabulate import tabulate  # not needed by the quick commands

    header = [column.replace("_", " ") for column in rows[0]]
    lines = [[value.replace("|", "\\|") for value in row.values()] for row in rows]
    return tabulate(lines, headers=header, tablefmt="github", disable_numparse=True)


def rows_as_text(rows: Sequence[Mapping[str, str]], width: int | None, layout: Layout = PLAIN) -> str:
    """Rows as a table for a terminal, or as Markdown where there is none.

    Args:
        rows: column -> text; all of them with the same columns.
        width: columns of the terminal; None for any, and then the table is Markdown.
        layout: what becomes of a table that is wider than the terminal.
    """
    return table(rows, width, layout) if width is not None or not rows else markdown_table(rows)


def _no_part(record: Record, measurement: Measurement) -> str:
    if measurement.optional:
        return ""
    return ABSENT if record.status == "measured" else record.status.upper()


def _spread(record: Record, metric: str) -> str:
    """What follows the mean over several seeds."""
    deviation = spread(record, metric)
    return "" if deviation is None else f" ± {deviation:.2f}"
