"""One README -> the numbers it publishes, each with the place it was read at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from zoo.catalog.entry import PublishedCell
from zoo.catalog.published.issues import Issue
from zoo.catalog.published.layouts import Column, Layout, column_name, is_metric, layout_of, layouts
from zoo.catalog.published.markdown import Row, Table, read_tables
from zoo.catalog.published.numbers import plain, read_number
from zoo.catalog.published.sources import readings
from zoo.errors import UsageError, ZooError

LARGEST_DOCUMENT = 4 * 2**20
"""Bytes of a Markdown file; the longest README of a zoo has some ten kB."""

MOST_LINES = 50_000
"""Lines of a Markdown file; the longest README of a zoo has some hundred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedNumber:
    """One number as a document prints it.

    Attributes:
        zoo: name of the zoo whose layout the table has.
        entry: the row's name in the catalogue; None where the row names no model.
        row: what the row calls itself: its first cell, without Markdown.
        metric: a key of `zoo.catalog.entry.METRICS`.
        text: the digits, in the metric's unit.
        hardware: device that a speed or a memory figure was taken on.
        file: the document as read.
        line: line number in the file, from 1.
        side: name of the side of a merge conflict that the row stands on; None outside of conflicts.
        raw: the cell as it stands in the document.
        in_table: False for a number of the running text.
    """

    zoo: str
    entry: str | None
    row: str
    metric: str
    text: str
    hardware: str | None
    file: str
    line: int
    side: str | None
    raw: str
    in_table: bool = True

    def cell(self, source: str) -> PublishedCell:
        """The number as a published cell of `source`."""
        # Running text is a source of its own: it is older than the table as often as not.
        where = source if self.in_table else f"{source} (text)"
        return PublishedCell(metric=self.metric, text=self.text, source=where, line=self.line, hardware=self.hardware)


def read_file(path: Path) -> tuple[list[PublishedNumber], list[Issue]]:
    """What a Markdown file publishes; see `read_document`.

    Raises:
        UsageError: there is no such file.
        ZooError: it cannot be read, or no table in it has a known column of numbers.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_DOCUMENT + 1)
    except FileNotFoundError:
        raise UsageError(f"no file {path}", next_step="name a Markdown file, such as a README.md") from None
    except OSError as error:
        message = f"cannot read {path}: {error.strerror or error}"
        raise ZooError(message, next_step="name a Markdown file, such as a README.md") from None
    if len(data) > LARGEST_DOCUMENT:
        message = f"{path}: more than {LARGEST_DOCUMENT >> 20} MiB, which no Markdown file has"
        raise ZooError(message, next_step="name a Markdown file, such as a README.md")
    if max(data.count(b"\n"), data.count(b"\r")) > MOST_LINES:
        message = f"{path}: more than {MOST_LINES:,} lines, which no Markdown file has"
        raise ZooError(message, next_step="name a Markdown file, such as a README.md")
    text = data.decode("utf-8-sig", errors="replace")
    cells, issues = read_document(text, str(path))
    if "\N{REPLACEMENT CHARACTER}" in text:
        line = text[: text.index("\N{REPLACEMENT CHARACTER}")].count("\n") + 1
        issues.insert(0, Issue(str(path), line, "bytes that are not UTF-8", "replaced by \N{REPLACEMENT CHARACTER}"))
    if not cells:
        known = sorted({name for layout in layouts() for name in layout.columns})
        found = "; ".join(f"line {issue.line}: {issue.problem}" for issue in issues[:3])
        raise ZooError(
            f"{path}: no table with a published number" + (f" ({found})" if found else ""),
            next_step=f"a table needs one of these columns: {', '.join(known)}",
        )
    return cells, issues


def read_document(text: str, file: str) -> tuple[list[PublishedNumber], list[Issue]]:
    """The numbers that a document publishes, by line, and its issues, by line."""
    tables, issues = read_tables(text, file, is_metric)
    cells: list[PublishedNumber] = []
    zoos: dict[str, Layout] = {}
    for table in tables:
        layout = layout_of(table.header)
        if layout is None:
            issues.append(Issue(file, table.line, "a table without a known column of numbers", "left out"))
            continue
        zoos[layout.zoo] = layout
        reader = _TableReader(layout, table, file)
        cells.extend(cell for row in table.rows for cell in reader.cells(row))
        issues.extend(reader.issues)
    cells.extend(_sentences(text, file, zoos.values()))
    return sorted(cells, key=lambda cell: cell.line), sorted(set(issues))


class _TableReader:
    """The numbers of one table."""

    def __init__(self, layout: Layout, table: Table, file: str) -> None:
        self.issues: list[Issue] = []
        self._layout = layout
        self._file = file
        self._names = layout.names(table.header)
        self._check_header(table)

    def _check_header(self, table: Table) -> None:
        pairs = [(plain(cell), name) for cell, name in zip(table.header, self._names, strict=True)]
        unknown = [cell for cell, name in pairs if name not in self._layout.columns and name not in self._layout.others]
        if unknown:
            self._issue(table.line, f"columns of no known metric ({', '.join(unknown)})", "left out")
        foreign = [(cell, name) for cell, name in pairs if column_name(cell) != name]
        if foreign:
            problem = f"column names in another language ({', '.join(cell for cell, _ in foreign)})"
            self._issue(table.line, problem, f"read as {', '.join(name for _, name in foreign)}")

    def _issue(self, line: int, problem: str, resolution: str) -> None:
        self.issues.append(Issue(self._file, line, problem, resolution))

    def cells(self, row: Row) -> Iterator[PublishedNumber]:
        """The numbers of one row."""
        by_name = dict(zip(self._names, row.cells, strict=True))
        entry = self._layout.entry(by_name.get(self._layout.key_column, ""))
        if entry is None:
            self._issue(row.line, f"a row that names no known model: {plain(row.cells[0])!r}", "kept without an entry")
        for name, raw in zip(self._names, row.cells, strict=True):
            column = self._layout.columns.get(name)
            if column is None:
                continue
            reading = read_number(raw, column.metric)
            for problem, resolution in reading.remarks:
                self._issue(row.line, f"column {name!r}: {problem}", resolution)
            if reading.text is not None:
                yield self._printed(row, entry, column, reading.text, raw)

    def _printed(self, row: Row, entry: str | None, column: Column, text: str, raw: str) -> PublishedNumber:
        return PublishedNumber(
            zoo=self._layout.zoo,
            entry=entry,
            row=plain(row.cells[0]),
            metric=column.metric,
            text=text,
            hardware=column.hardware,
            file=self._file,
            line=row.line,
            side=row.side,
            raw=raw,
        )


def _sentences(text: str, file: str, used: Iterable[Layout]) -> Iterator[PublishedNumber]:
    """The numbers that the running text prints of rows of its zoo."""
    sources, _ = readings(text, file)
    lines = sorted({line for source in sources for line in source}, key=lambda line: line.number)
    for layout in used:
        for sentence in layout.sentences:
            for line in lines:
                start = line.text.find(sentence.anchor)
                if start >= 0 and (match := sentence.pattern.search(line.text, start)):
                    yield PublishedNumber(
                        zoo=layout.zoo,
                        entry=sentence.entry,
                        row="(text)",
                        metric=sentence.column.metric,
                        text=match[1],
                        hardware=sentence.column.hardware,
                        file=file,
                        line=line.number,
                        side=line.side,
                        raw=" ".join(line.text[start : match.end()].split()),
                        in_table=False,
                    )
