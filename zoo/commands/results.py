"""`zoo table`, `zoo diff`, `zoo report`: the records."""

from __future__ import annotations

import argparse
import fnmatch
import sys
from collections.abc import Sequence
from pathlib import Path

from zoo.commands.command import WHICH, Command, add_results_dir
from zoo.commands.output import add_format, print_rows
from zoo.commands.selection import select
from zoo.errors import UsageError, ZooError
from zoo.results.diff import compare_records, diff_rows, entries_of, flat_rows, passes, render_comparison, render_diff
from zoo.results.gather import gather_evidence
from zoo.results.ledger import Ledger
from zoo.results.record import Record
from zoo.results.seeds import aggregate_seeds
from zoo.results.table import check_tables, stale_tables, write_tables
from zoo.schema import plain
from zoo.terminal import width_of


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
        raise _no_records(root)
    return 0


def _diff(options: argparse.Namespace) -> int:
    if any(argument.endswith(".json") for argument in options.which):
        return _diff_records(options.which, options.format)
    root = options.results_dir
    ledger = Ledger(root)
    everything = [*aggregate_seeds(ledger.records()), *ledger.attempts()]
    records = _matching(everything, options.which) if options.which else everything
    if not records:
        raise _no_records(root)
    entries = entries_of(everything)
    rows = diff_rows(records, entries, gather_evidence(everything, entries))
    if options.format == "table":
        print(render_diff(rows, width_of(sys.stdout)), end="")
    else:
        print_rows(flat_rows(rows), options.format)
    return 0 if passes(rows) else 1


def _matching(records: Sequence[Record], patterns: Sequence[str]) -> list[Record]:
    """The records that patterns mean; whatever has a name of its own answers to that, too."""
    own = {name for record in records for name in (record.entry, record.name) if name is not None}
    direct = {name for pattern in patterns for name in fnmatch.filter(own, pattern)}
    others = [pattern for pattern in patterns if not fnmatch.filter(own, pattern)]
    wanted = direct | ({entry.name for entry in select(others)} if others else set())
    return [record for record in records if record.entry in wanted or record.name in wanted]


def _diff_records(paths: Sequence[str], style: str) -> int:
    if len(paths) != 2:
        raise UsageError("two record files are compared at a time", next_step="zoo diff OLD.json NEW.json")
    for path in paths:
        if not Path(path).is_file():
            raise UsageError(f"no record file {path}", next_step="records are under results/records/<hardware>/")
    old, new = (Record.read(Path(path)) for path in paths)
    if style == "table":
        print(render_comparison(old, new, width_of(sys.stdout)), end="")
        return 0
    changes = [plain(change) for change in compare_records(old, new).changes]
    print_rows([{key: "" if value is None else str(value) for key, value in row.items()} for row in changes], style)
    return 0


def _report(options: argparse.Namespace) -> int:
    from zoo.results.report.site import write_report

    print(f"wrote {write_report(options.results_dir)}")
    return 0


def _no_records(root: Path) -> ZooError:
    return ZooError(
        f"no records to read under {root / 'records'}",
        next_step="measure something first: python -m zoo.bench entry=ENTRY (see `zoo list`)",
    )


def _table_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a table is out of date")
    add_results_dir(parser)


def _diff_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("which", nargs="*", metavar="ZOO|ENTRY|GLOB|RECORD.json", help=f"{WHICH}; or two records")
    add_format(parser)
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
        name="diff",
        theme="results",
        about="measured beside published, or two record files",
        run=_diff,
        arguments=_diff_arguments,
    ),
    Command(
        name="report",
        theme="results",
        about="write a static HTML page with plots from the records",
        run=_report,
        arguments=add_results_dir,
    ),
)
