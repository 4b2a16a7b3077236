"""`zoo export`: measured records in the formats of others."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from zoo.commands.command import Command, add_results_dir, add_which
from zoo.commands.selection import select
from zoo.errors import UsageError


def _export(options: argparse.Namespace) -> int:
    from zoo.results.exporting import Request, export_of, measured_records, write_export

    name, root = options.what, options.results_dir
    export = export_of(name)
    if options.dataset is not None and name != "hub":
        raise UsageError(f"--dataset is of hub, not of {name}", next_step="leave it out")
    if options.which and not export.of_records:
        raise UsageError(f"{name} is of no row", next_step="leave the rows out")
    rows = [entry.name for entry in select(options.which)] if options.which else None
    records = measured_records(root, rows) if export.of_records else []
    request = Request(results_dir=root, records=records, hub_dataset=options.dataset)
    files, left_out = write_export(export, request, options.into)
    for path in files:
        print(f"wrote {path}")
    for item in left_out:
        print(f"{item.name} is left out: {item.reason}", file=sys.stderr)
    if not files:
        print("nothing to export\nnext: see `zoo diff` for what was measured", file=sys.stderr)
    return 0 if files else 1


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    from zoo.results.exporting import export_names

    names = export_names()
    about = f"{', '.join(names)} (docs/exports.md)"
    parser.add_argument("what", choices=names, metavar="FORMAT", help=about)
    add_which(parser)
    parser.add_argument("--into", type=Path, default=Path("exports"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--dataset", metavar="OWNER/NAME", help="of hub: the data set that is the benchmark there")
    add_results_dir(parser)


COMMANDS = (
    Command(
        name="export",
        theme="results",
        about="write what was measured in the formats of others",
        run=_export,
        arguments=_export_arguments,
    ),
)
