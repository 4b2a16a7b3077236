"""`zoo fetch`: checkpoints."""

from __future__ import annotations

import argparse
import sys

from zoo.commands.command import Command, add_results_dir, add_which
from zoo.commands.output import add_format, print_rows
from zoo.commands.selection import select
from zoo.errors import ZooError


def _fetch(options: argparse.Namespace) -> int:
    from zoo.checkpoints.fetch_checkpoint import fetch_checkpoint

    rows: list[dict[str, str]] = []
    failures = 0
    for entry in select(options.which):
        try:
            file = fetch_checkpoint(entry.checkpoint, options.results_dir)
        except ZooError as error:  # the next entry may well be there
            failures += 1
            print(f"{entry.name}: {error.status.upper()}: {error.message}\n  next: {error.next_step}", file=sys.stderr)
        else:
            row = {
                "entry": entry.name,
                "path": str(file.path),
                "bytes": str(file.size),
                "sha256": file.sha256,
                "hash_evidence": file.hash_evidence,
            }
            rows.append(row)
            if options.format == "table":  # as they come: each may take minutes
                size = f"{file.size / 1e6:.1f} MB"
                print(f"{entry.name}: {file.path} ({size}, sha256 {file.sha256[:8]}, {file.hash_evidence})", flush=True)
    if options.format != "table":
        print_rows(rows, options.format)
    return 1 if failures else 0


def _fetch_arguments(parser: argparse.ArgumentParser) -> None:
    add_which(parser, nargs="+")
    add_format(parser)
    add_results_dir(parser)


COMMANDS = (
    Command(
        name="fetch",
        theme="catalogue",
        about="download checkpoints and check their hashes",
        run=_fetch,
        arguments=_fetch_arguments,
    ),
)
