"""`zoo merge`: results of machines without a shared disk."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from zoo.commands.command import Command, add_results_dir
from zoo.commands.output import add_format, print_rows
from zoo.terminal import Layout


def _merge(options: argparse.Namespace) -> int:
    from zoo.results.merge import merge_folders

    merged = merge_folders(options.folders, options.results_dir, dry_run=options.check)
    rows = [
        {
            "file": str(line.source),
            "outcome": line.outcome,
            "filed_as": "" if line.target is None else line.target.as_posix(),
            "notes": " ".join("; ".join(line.notes).split()),
        }
        for line in merged
    ]
    print_rows(rows, options.format, Layout(below=("notes", "filed_as")))
    counts = Counter(line.outcome for line in merged)
    if options.format == "table":
        summary = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
        done = "would be merged into" if options.check else "merged into"
        print(f"\n{done} {options.results_dir}: {summary}")
        if counts["added"] + counts["joined"] and not options.check:
            print("next: write the tables anew with `zoo table`")
    if counts["left out"]:
        print(f"{counts['left out']} files left out\nnext: remove them, or fetch them anew and merge", file=sys.stderr)
    return 1 if counts["left out"] else 0


def _merge_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="results folder of another machine")
    parser.add_argument("--check", action="store_true", help="write nothing; say what would become of every file")
    add_format(parser)
    add_results_dir(parser)


COMMANDS = (
    Command(
        name="merge",
        theme="results",
        about="take over the results of machines without a shared disk",
        run=_merge,
        arguments=_merge_arguments,
    ),
)
