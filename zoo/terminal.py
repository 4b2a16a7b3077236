"""What is printed for people: as wide as their terminal, in colour where it is one; plain and whole for a pipe."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TextIO

ABSENT = "\N{EN DASH}"
"""What a table shows where there is no value."""

UNKNOWN_WIDTH = 80
"""Columns of a terminal that does not say how many it has."""

_COLOURS = {"green": "32", "yellow": "33", "red": "31", "bold": "1", "dim": "2"}

_INDENT = "    "


def width_of(stream: TextIO) -> int | None:
    """Columns of the terminal that a stream is; None for a pipe or a file, which take lines of any length."""
    return shutil.get_terminal_size((UNKNOWN_WIDTH, 24)).columns if stream.isatty() else None


def paint(text: str, colour: str, stream: TextIO) -> str:
    """A text in a colour ("green", "yellow", "red", "bold", "dim"), plain for a pipe or where NO_COLOR is set."""
    wanted = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if wanted else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What becomes of a table that is wider than the terminal; nothing does where it fits.

    Attributes:
        group: column whose values become headings, above the lines that share one.
        below: columns that go below their line, indented, the first of these first.
        drop: columns that are left out, the first of these first; the last line names them.
    """

    group: str | None = None
    below: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


PLAIN = Layout()
"""Columns that do not fit go below, the last first."""


def table(rows: Sequence[Mapping[str, str]], width: int | None, layout: Layout = PLAIN) -> str:
    """Rows as an aligned table, no wider than the terminal.

    Args:
        rows: column -> text; all of them with the same columns.
        width: columns of the terminal; None for any.
        layout: what to do about a table that is wider.
    """
    if not rows:
        return ""
    columns = list(rows[0])
    if width is None or _fits(rows, columns, width):
        return "\n".join(_lines(rows, columns))
    if layout.group:
        columns.remove(layout.group)
    dropped: list[str] = []
    below: list[str] = []
    for name in layout.drop:
        if not _fits(rows, columns, width):
            columns.remove(name)
            dropped.append(name)
    for name in layout.below:
        if not _fits(rows, columns, width):
            columns.remove(name)
            below.append(name)
    while len(columns) > 1 and not _fits(rows, columns, width):
        below.append(columns.pop())
    text = _grouped(rows, columns, below, width, layout.group)
    if dropped:
        left_out = f"left out for the width: {', '.join(name for name in rows[0] if name in dropped)} (see --format)"
        text.extend(textwrap.wrap(left_out, width))
    return "\n".join(text)


def _grouped(
    rows: Sequence[Mapping[str, str]], columns: list[str], below: list[str], width: int, group: str | None
) -> list[str]:
    """The lines of a table with what goes below each, under a heading for every value of the column `group`."""
    header, rule, *body = [_cut(line, width) for line in _lines(rows, columns)]
    text = [header, rule]
    pairs = list(zip(rows, body, strict=True))
    for heading, members in groupby(pairs, key=lambda pair: pair[0][group] if group else ""):
        if group:
            text.append(_cut(heading, width))
        for row, line in members:
            text.append(line)
            text += _below(row, [name for name in row if name in below], width)
    return text


def _below(row: Mapping[str, str], names: Sequence[str], width: int) -> list[str]:
    said = "; ".join(f"{name} {row[name]}" for name in names if row[name] not in ("", ABSENT))
    return textwrap.wrap(said, width, initial_indent=_INDENT, subsequent_indent=_INDENT)


def _fits(rows: Sequence[Mapping[str, str]], columns: Sequence[str], width: int) -> bool:
    return sum(_widths(rows, columns)) + 2 * (len(columns) - 1) <= width


def _widths(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> list[int]:
    return [max(len(name), *(len(row[name] or ABSENT) for row in rows)) for name in columns]


def _lines(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> list[str]:
    widths = _widths(rows, columns)
    cells = [
        list(columns),
        ["-" * width for width in widths],
        *([row[name] or ABSENT for name in columns] for row in rows),
    ]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 1] + "\N{HORIZONTAL ELLIPSIS}"
