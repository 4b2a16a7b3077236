"""`zoo new` and `zoo check`: entries of one's own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from zoo.commands.command import Command, completed
from zoo.commands.completers import entries
from zoo.commands.selection import select
from zoo.errors import UsageError


def _new(options: argparse.Namespace) -> int:
    from zoo.catalog.entry import resolve
    from zoo.catalog.new import write_new_entry

    path = write_new_entry(options.name, resolve(options.like)[0], options.into)
    print(f"{path}\nnext: fill it in, then zoo check {options.name}")
    return 0


def _check(options: argparse.Namespace) -> int:
    chosen = select(options.which)
    if options.checkpoint is not None and len(chosen) != 1:
        raise UsageError(f"--checkpoint is of one entry, not of {len(chosen)}", next_step="name the entry")
    if options.store and options.checkpoint is None:
        raise UsageError("--store needs a file to read", next_step="add --checkpoint FILE")
    from zoo.config.check import check_entry

    wrong = 0
    for entry in chosen:
        checked = check_entry(entry.name, options.checkpoint)
        wrong += bool(checked.problems)
        print(f"{entry.name}: {'; '.join(checked.facts) or 'could not be built'}")
        for missing in checked.missing:
            print(f"  without {missing}")
        for problem in checked.problems:
            print(f"  wrong: {problem}", file=sys.stderr)
        if options.store and checked.keys is not None and not checked.problems:
            from zoo.catalog.keys import GROUP, key_list_name
            from zoo.catalog.new import catalogue_of

            path = catalogue_of(entry.name) / GROUP / f"{key_list_name(entry)}.json"
            checked.keys.write(path)
            print(f"  stored {path}")
    if wrong:
        print(f"{wrong} of {len(chosen)} entries not sound\nnext: correct what is wrong", file=sys.stderr)
    return 1 if wrong else 0


def _new_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="ENTRY", help="<zoo>_<model>")
    like = parser.add_argument("--from", dest="like", required=True, metavar="OTHER", help="the entry it resembles")
    completed(like, entries)
    parser.add_argument("--into", type=Path, metavar="DIR", help="the catalogue: $ZOO_CATALOG, or conf/ of a checkout")


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    completed(parser.add_argument("which", nargs="+", metavar="ZOO|ENTRY|GLOB"), entries)
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="the published file, instead of its key list")
    parser.add_argument("--store", action="store_true", help="keep the names and shapes in that file as its key list")


COMMANDS = (
    Command(
        name="new",
        theme="catalogue",
        about="begin the YAML of a new entry with the parts of another",
        run=_new,
        arguments=_new_arguments,
    ),
    Command(
        name="check",
        theme="catalogue",
        about="build entries, and hold them against their checkpoints' keys",
        run=_check,
        arguments=_check_arguments,
    ),
)
