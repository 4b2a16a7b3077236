"""`zoo table` and `zoo report`: what is made of the records."""

from __future__ import annotations

import argparse
from pathlib import Path

from zoo.commands.command import Command, add_results_dir
from zoo.errors import UsageError, ZooError
from zoo.results.run_folder import RUNS
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
    from zoo.results.report.detections import DetectionViews
    from zoo.results.report.site import write_report

    for folder in (*(options.runs or ()), *options.data):
        if not folder.is_dir():
            raise UsageError(f"no folder {folder}", next_step="give --runs and --data folders that are there")
    views = DetectionViews(options.runs or RUNS, options.data)
    print(f"wrote {write_report(options.results_dir, views.of)}")
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


def _report_arguments(parser: argparse.ArgumentParser) -> None:
    where = " and ".join(f"{folder}/" for folder in RUNS)
    parser.add_argument(
        "--runs", nargs="+", type=Path, metavar="DIR", help=f"where runs left their detections; default: {where}"
    )
    parser.add_argument(
        "--data",
        nargs="+",
        type=Path,
        default=[],
        metavar="DIR",
        help="data sets to draw on, as data.root=DIR has them",
    )
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
        about="write the report of the records: HTML pages that open from disk",
        run=_report,
        arguments=_report_arguments,
    ),
)
