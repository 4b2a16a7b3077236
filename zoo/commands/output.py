"""How commands print rows."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Mapping, Sequence

from zoo.results.diff import ABSENT

FORMATS = ("table", "json", "csv")


def add_format(parser: argparse.ArgumentParser, *more: str) -> None:
    """The option `--format`, of a command that prints rows; `more` are formats of its own."""
    parser.add_argument("--format", choices=(*FORMATS, *more), default="table", help="default: %(default)s")


def print_rows(rows: Sequence[Mapping[str, str]], style: str) -> None:
    """Print rows as an aligned table, as JSON or as CSV.

    Args:
        rows: column -> text; all of them with the same columns.
        style: one of `FORMATS`.
    """
    header = list(rows[0]) if rows else []
    if style == "json":
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    elif style == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, header, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        print(text.getvalue(), end="")
    else:
        from tabulate import tabulate

        lines = [[value or ABSENT for value in row.values()] for row in rows]
        print(tabulate(lines, headers=header, tablefmt="simple", disable_numparse=True))


def print_pairs(pairs: Mapping[str, object]) -> None:
    """Print names and values below a heading."""
    for name, value in pairs.items():
        print(f"  {name:<10} {value}")
