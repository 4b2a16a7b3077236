"""`zoo table` and `zoo report`: what is made of the records."""

from __future__ import annotations

import argparse
from pathlib import Path

from zoo.commands.command import Command, add_results_dir
from zoo.errors import ZooError
from zoo.results.table import check_tables, stale_tables, write_tables


def _table(options: argparse.Namespace) -> int:
    root = options.results_dir
    if options.check:
        different = check_tables(root)
        for path in different:
            print(f"out of date: {path}")
        return 1 if different else 0
    for path in stale_tables(root):
        print(f"removed {path}: no record is of this machine any more")
    written = write_tables(root)
    for path in written:
        print(f"wrote {path}")
    if not written:
        raise no_records(root)
    return 0


def _report(options: argparse.Namespace) -> int:
    from zoo.results.report.site import write_report

    print(f"wrote {write_report(options.results_dir)}")
    return 0


def no_records(root: Path) -> ZooError:
    """The error for a results folder without anything to show."""
    return ZooError(
        f"no records to read under {root / 'records'}",
        next_step="measure something first: python -m zoo.bench entry=ENTRY (see `zoo list`)",
    )


def _table_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a table is out of date")
    add_results_dir(parser)


COMMANDS = (
    Command(
        name="table",
        theme="results",
        about="write the tables from the records",
        run=_table,
        arguments=_table_arguments,
    ),
    Command(
        name="report",
        theme="results",
        about="write a static HTML page with plots from the records",
        run=_report,
        arguments=add_results_dir,
    ),
)
