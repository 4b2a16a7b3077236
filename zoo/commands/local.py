"""`zoo status`, `zoo forget`: what became of every row, and of results that have a name of their own."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.catalog.entry import Entry
from zoo.commands.command import Command, add_results_dir, add_which
from zoo.commands.output import add_format, print_rows
from zoo.commands.selection import select
from zoo.errors import ZooError
from zoo.fetch.cache import progress
from zoo.results.ledger import Ledger
from zoo.results.record import Record
from zoo.results.status import row_status

if TYPE_CHECKING:
    from tqdm import tqdm


def _status(options: argparse.Namespace) -> int:
    entries = select(options.which)
    with progress("holding records against the present", total=len(entries), unit="rows") as bar:
        lines = row_status(options.results_dir, _counted(entries, bar), partial(_why_stale, options.results_dir))
    rows = [
        {
            "entry": line.entry,
            "state": line.state,
            "machine": line.machine or "",
            "finished": line.finished or "",
            "reason": " ".join((line.reason or "").split()),
        }
        for line in lines
    ]
    print_rows(rows, options.format)
    if options.format == "table":
        _print_local(options, {line.entry for line in lines})
    return 0


def _counted(entries: Sequence[Entry], bar: tqdm[Any]) -> Iterator[Entry]:
    for entry in entries:
        yield entry
        bar.update()


def _why_stale(results_dir: Path, record: Record) -> str | None:
    """Why something of a row's record does not stand any more; None where all of it does."""
    from zoo.config.remaining import stale_row
    from zoo.results.staleness import summed_up

    try:
        return summed_up(stale_row(record, results_dir), record.parts) or None
    except ZooError as error:  # of a row that is faulty by now; the others have an answer
        return error.message


def _print_local(options: argparse.Namespace, entries: set[str]) -> None:
    """The results under names of their own, beneath the rows."""
    found = [(name, record) for name, record in Ledger(options.results_dir).named() if record.entry in entries]
    if not found:
        return
    print("\nunder names of their own (`zoo forget NAME` takes one away)")
    rows = [{"name": name, "state": record.status, "machine": record.hardware_id or ""} for name, record in found]
    print_rows(rows, "table")


def _status_arguments(parser: argparse.ArgumentParser) -> None:
    add_which(parser)
    add_format(parser)
    add_results_dir(parser)


def _forget(options: argparse.Namespace) -> int:
    for path in Ledger(options.results_dir).forget(options.name):
        print(f"removed {path}")
    return 0


def _forget_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="as `zoo status` lists it: the name that a run was given, or got")
    add_results_dir(parser)


COMMANDS = (
    Command(
        name="status",
        theme="results",
        about="done, stale, blocked, failed or missing, row by row, and why",
        run=_status,
        arguments=_status_arguments,
    ),
    Command(
        name="forget",
        theme="results",
        about="take away the local results of a name",
        run=_forget,
        arguments=_forget_arguments,
    ),
)
