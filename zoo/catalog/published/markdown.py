"""Markdown tables as they are found, not as they should be.

A table is a line of column names, a line of dashes, and lines of cells between bars (GitHub's
Markdown). Tables that were merged, pasted or exported badly have bars too many or too few; a
renderer shows such a row shifted or cut. Here a row is repaired where only one repair puts every
text into a column that holds such texts, and left out where several would.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from zoo.catalog.published.issues import Issue
from zoo.catalog.published.numbers import is_number_or_blank, plain
from zoo.catalog.published.sources import Line, readings

_BAR = re.compile(r"(?<!\\)\|")
_DASHES = re.compile(r":?-+:?")

MAX_COLUMNS = 64
"""Columns of a table; published ones have about ten."""

MAX_BROKEN = 16
"""Lines that one row may be broken over."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row; as many cells as its table has columns, raw text."""

    line: int
    cells: tuple[str, ...]
    side: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """One table; `line` is that of its column names."""

    line: int
    header: tuple[str, ...]
    rows: tuple[Row, ...]


def read_tables(text: str, file: str, numeric: Callable[[str], bool]) -> tuple[list[Table], list[Issue]]:
    """All tables of a document, in its order.

    Args:
        text: the document.
        file: its name, for the issues.
        numeric: whether a column name is that of a column of numbers.

    Returns:
        The tables (rows of both sides where the document has merge conflicts), and the issues by line.
    """
    sources, issues = readings(text, file)
    merged: dict[tuple[int, tuple[str, ...]], dict[tuple[int, tuple[str, ...]], Row]] = {}
    for lines in sources:
        reader = _Reader(lines, file, numeric)
        for table in reader.tables():
            rows = merged.setdefault((table.line, table.header), {})
            rows.update({(row.line, row.cells): row for row in table.rows})
        issues.extend(reader.issues)
    tables = [
        Table(line, header, tuple(sorted(rows.values(), key=lambda row: row.line)))
        for (line, header), rows in sorted(merged.items())
    ]
    return tables, sorted(set(issues))


def split_cells(text: str) -> list[str]:
    """The cells of one line, raw; bars at its two ends belong to no cell."""
    cells = [cell.strip() for cell in _BAR.split(text.strip())]
    if len(cells) > 1 and not cells[0]:
        cells = cells[1:]
    if len(cells) > 1 and not cells[-1]:
        cells = cells[:-1]
    return cells


def _has_bar(text: str) -> bool:
    return _BAR.search(text) is not None


def _is_dashes(text: str) -> bool:
    """Whether a line is the one between column names and rows."""
    cells = [cell for cell in split_cells(text) if cell]
    return _has_bar(text) and bool(cells) and all(map(_DASHES.fullmatch, cells))


class _Reader:
    """Reads one reading of a document: its lines, one side of each merge conflict."""

    def __init__(self, lines: Sequence[Line], file: str, numeric: Callable[[str], bool]) -> None:
        self.issues: list[Issue] = []
        self._file = file
        self._numeric = numeric
        self._lines = list(self._without_stray_bars(lines))

    def _without_stray_bars(self, lines: Sequence[Line]) -> Iterator[Line]:
        for line in lines:
            if line.text.strip() and not line.text.strip("| \t"):
                self._issue(line.number, "a line of nothing but bars", "left out")
            else:
                yield line

    def _issue(self, line: int, problem: str, resolution: str) -> None:
        self.issues.append(Issue(self._file, line, problem, resolution))

    def tables(self) -> Iterator[Table]:
        """Every table of the reading."""
        i = 0
        while i < len(self._lines):
            first = self._first_row(i)
            if first is None:
                i += 1
                continue
            line, header = self._lines[i], self._header(i, dashed=first == i + 2)
            if len(header) > MAX_COLUMNS:
                self._issue(line.number, f"a table of {len(header)} columns", "left out")
                i = first
                continue
            rows, i = self._rows(first, header, closed=line.text.strip().startswith("|"))
            yield Table(line.number, header, tuple(rows))

    def _text(self, i: int) -> str:
        return self._lines[i].text if i < len(self._lines) else ""

    def _first_row(self, i: int) -> int | None:
        """Where the rows begin, if line `i` holds column names."""
        text, below = self._text(i), self._text(i + 1)
        if not _has_bar(text) or _is_dashes(text):
            return None
        if _is_dashes(below):
            return i + 2
        cells = split_cells(text)
        same = _has_bar(below) and len(split_cells(below)) == len(cells)
        return i + 1 if same and 1 < len(cells) <= MAX_COLUMNS and any(map(self._numeric, map(plain, cells))) else None

    def _header(self, i: int, *, dashed: bool) -> tuple[str, ...]:
        number, cells = self._lines[i].number, split_cells(self._text(i))
        if not dashed:
            self._issue(number, "no line of dashes below the column names", "read as a table all the same")
            return tuple(cells)
        dashes = [cell for cell in split_cells(self._text(i + 1)) if cell]
        while len(cells) > len(dashes) and not cells[-1]:
            cells.pop()
            self._issue(number, "a stray bar at the end of the column names", "left off")
        if len(cells) != len(dashes):
            problem = f"{len(dashes)} cells of dashes below {len(cells)} column names"
            self._issue(number + 1, problem, "the names count")
        return tuple(cells)

    def _rows(self, i: int, header: tuple[str, ...], *, closed: bool) -> tuple[list[Row], int]:
        """The rows from line `i` on, and the line after the last."""
        found: list[tuple[Line, str]] = []
        columns = [_Column(self._numeric(plain(name))) for name in header]
        while i < len(self._lines):
            line = self._lines[i]
            if not line.text.strip() and self._goes_on(i + 1, columns):
                self._issue(line.number, "a blank line inside a table", "the table goes on")
            elif not _is_row(line.text) or _is_dashes(self._text(i + 1)):
                break
            elif not _is_dashes(line.text):
                text, used = self._whole(i, len(header)) if closed else (line.text, 1)
                found.append((line, text))
                i += used - 1
            i += 1
        _learn(columns, [split_cells(text) for _, text in found])
        rows = [
            Row(line.number, cells, line.side)
            for line, text in found
            for cells in self._repaired(line.number, text, columns)
        ]
        return rows, i

    def _goes_on(self, i: int, columns: Sequence[_Column]) -> bool:
        """Whether line `i`, below a blank one, is a row of the table above it."""
        cells = split_cells(self._text(i))
        if len(cells) != len(columns) or self._first_row(i) is not None:
            return False
        return _fit(cells, columns) and any(map(plain, _numbers(cells, columns)))

    def _whole(self, i: int, width: int) -> tuple[str, int]:
        """A row that may be broken over lines, and how many: one that begins with a bar and does not end with one."""
        text, used = self._text(i).strip(), 1
        while (
            used < MAX_BROKEN
            and not text.endswith("|")
            and len(split_cells(text)) < width
            and self._text(i + used).strip()
        ):
            text = f"{text} {self._text(i + used).strip()}"
            used += 1
        if used == 1 or len(split_cells(text)) != width:
            return self._text(i), 1
        self._issue(self._lines[i].number, f"a row broken over {used} lines", "read as one")
        return text, used

    def _repaired(self, line: int, text: str, columns: Sequence[_Column]) -> list[tuple[str, ...]]:
        """The row of a line; none where its bars say nothing certain, several where rows are glued together."""
        cells, width = split_cells(text), len(columns)
        surplus = 0
        while len(cells) > width and not cells[-1]:
            cells.pop()
            surplus += 1
        if surplus:
            self._issue(line, "stray bars at the end of a row", "left off")
        if len(cells) == width:
            return [tuple(cells)]
        glued = _unglued(cells, width)
        if glued and all(_fit(row, columns) for row in glued):
            self._issue(line, f"{len(glued)} rows on one line", "read one by one")
            return glued
        problem = f"{len(cells)} cells for {width} columns"
        fitting = [row for row in _alignments(cells, width) if _fit(row, columns)]
        if len({_numbers(row, columns) for row in fitting}) != 1:
            self._issue(line, problem, "left out: the numbers could stand in several columns, or in none")
            return []
        repair = "the surplus bar belongs to a cell" if len(cells) > width else "the missing cells are blank"
        self._issue(line, problem, repair)
        return [fitting[-1]]


@dataclass(slots=True)
class _Column:
    """What may stand in a column: numbers alone, or the kinds of text that its clean rows have there."""

    numeric: bool
    kinds: set[str] = field(default_factory=set)

    def takes(self, cell: str) -> bool:
        if self.numeric:
            return is_number_or_blank(cell)
        return not cell or not self.kinds or _kind(cell) in self.kinds


def _kind(cell: str) -> str:
    if "](" in cell:
        return "link"
    return "number" if is_number_or_blank(cell) else "text"


def _learn(columns: Sequence[_Column], rows: Sequence[Sequence[str]]) -> None:
    """Note the kinds of text that the rows of the right width have in each column."""
    for row in rows:
        if len(row) == len(columns):
            for column, cell in zip(columns, row, strict=True):
                column.kinds |= {_kind(cell)} if cell else set()


def _fit(row: Sequence[str], columns: Sequence[_Column]) -> bool:
    return all(column.takes(cell) for column, cell in zip(columns, row, strict=True))


def _numbers(row: Sequence[str], columns: Sequence[_Column]) -> tuple[str, ...]:
    """The cells under the columns of numbers."""
    return tuple(cell for column, cell in zip(columns, row, strict=True) if column.numeric)


def _is_row(text: str) -> bool:
    bare = text.strip()
    return _has_bar(bare) and not bare.startswith("#") and (bare.startswith("|") or len(split_cells(bare)) > 1)


def _unglued(cells: Sequence[str], width: int) -> list[tuple[str, ...]]:
    """Cells of several whole rows, with or without an empty one between them; none where they do not come out even."""
    rows, start = [], 0
    while len(cells) - start >= width:
        rows.append(tuple(cells[start : start + width]))
        start += width
        if start < len(cells) and not cells[start]:
            start += 1
    return rows if len(rows) > 1 and start == len(cells) else []


def _alignments(cells: Sequence[str], width: int) -> list[tuple[str, ...]]:
    """Every way to give a row its width: by one cell that has bars in it, or by blank cells in one place."""
    surplus = len(cells) - width
    if surplus > 0:
        joined = (" | ".join(cells[i : i + surplus + 1]).strip("| ") for i in range(width))
        return [(*cells[:i], text, *cells[i + surplus + 1 :]) for i, text in enumerate(joined)]
    return [(*cells[:i], *[""] * -surplus, *cells[i:]) for i in range(len(cells) + 1)]
