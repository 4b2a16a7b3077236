"""How commands print rows."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence

from zoo.terminal import PLAIN, Layout, table, width_of

FORMATS = ("table", "json", "csv")


def add_format(parser: argparse.ArgumentParser, *more: str) -> None:
    """The option `--format`, of a command that prints rows; `more` are formats of its own."""
    parser.add_argument("--format", choices=(*FORMATS, *more), default="table", help="default: %(default)s")


def print_rows(
    rows: Sequence[Mapping[str, str]], style: str, layout: Layout = PLAIN, columns: Sequence[str] = ()
) -> None:
    """Print rows as an aligned table that fits the terminal, as JSON or as CSV.

    Args:
        rows: column -> text; all of them with the same columns.
        style: one of `FORMATS`.
        layout: what becomes of a table that is wider than the terminal.
        columns: those of a CSV where there may be no rows.
    """
    if style == "json":
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    elif style == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]) if rows else columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        print(text.getvalue(), end="")
    else:
        print(table(rows, width_of(sys.stdout), layout))
