"""The published cells of a zoo with their evidence: results/published/<zoo>.csv.

One line a cell, sorted, so that a change of one number is a change of one line.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from zoo.catalog.entry import METRICS, PublishedCell
from zoo.catalog.published.documents import PublishedNumber
from zoo.errors import UsageError, ZooError
from zoo.files import result_errors, write_atomically
from zoo.schema import build

COLUMNS = ("entry", "metric", "text", "source", "file", "line", "hardware", "raw")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One published cell, and where it was read.

    Attributes:
        entry: name of the row.
        cell: the published cell, as the entry holds it.
        file: the copy of the source that was read; `cell.line` is a line of it.
        raw: the text the digits were taken from, on one line.
    """

    entry: str
    cell: PublishedCell
    file: str
    raw: str


def gather(numbers: Iterable[PublishedNumber], sources: Mapping[str, str]) -> list[Evidence]:
    """The cells of the rows that have an entry.

    A document that prints the same number for a row twice counts once, at the first place; two
    different numbers are two cells.

    Args:
        numbers: what was read, in the order of the documents.
        sources: zoo -> path of the document in that zoo's own repository.
    """
    kept: dict[tuple[str, str, str, str, str | None], Evidence] = {}
    for number in numbers:
        if number.entry is None:
            continue
        cell = number.cell(sources[number.zoo])
        key = (number.entry, cell.metric, cell.text, cell.source, cell.hardware)
        file = PurePath(number.file).name
        kept.setdefault(key, Evidence(entry=number.entry, cell=cell, file=file, raw=number.raw))
    return list(kept.values())


def write_evidence(path: Path, rows: Iterable[Evidence]) -> None:
    """Replace the CSV of a zoo.

    Raises:
        ZooError: it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in sorted(rows, key=_order):
        cell = row.cell
        line = "" if cell.line is None else cell.line
        raw = " ".join(row.raw.split())
        writer.writerow([row.entry, cell.metric, cell.text, cell.source, row.file, line, cell.hardware or "", raw])
    with result_errors(path):
        write_atomically(path, text.getvalue())


def _order(row: Evidence) -> tuple[str, int, str, str, int]:
    """By row, then as tables have their columns; a README comes before its metafile and its running text."""
    cell = row.cell
    return row.entry, list(METRICS).index(cell.metric), cell.hardware or "", cell.source, cell.line or 0


def read_evidence(path: Path) -> list[Evidence]:
    """The CSV of a zoo.

    Raises:
        ZooError: there is no such file, or it is not one of these.
    """
    next_step = f"restore it: git checkout -- {path}"
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8")), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ZooError(f"{path}: cannot be read: {error}", next_step=next_step) from None
    if not rows or tuple(rows[0]) != COLUMNS:
        raise ZooError(f"{path}: its columns are not {', '.join(COLUMNS)}", next_step=next_step)
    try:
        return [_evidence(dict(zip(COLUMNS, row, strict=True))) for row in rows[1:]]
    except (ValueError, UsageError) as error:
        raise ZooError(f"{path}: not a table of published cells: {error}", next_step=next_step) from None


def _evidence(row: Mapping[str, str]) -> Evidence:
    block = {
        "metric": row["metric"],
        "text": row["text"],
        "source": row["source"],
        "line": int(row["line"]) if row["line"] else None,
        "hardware": row["hardware"] or None,
    }
    cell = build(PublishedCell, block, row["entry"], "correct the line")
    return Evidence(entry=row["entry"], cell=cell, file=row["file"], raw=row["raw"])
