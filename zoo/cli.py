"""The quick front door: look at the catalogue and at results, without Hydra and without torch.

    zoo list        the entries
    zoo show        one entry: parts, checkpoint, published numbers
    zoo published   every published cell, with the line it was read from
    zoo fetch       download and check checkpoints
    zoo table       write the tables from the records
    zoo diff        measured beside published, or one record beside another
    zoo report      write a static HTML page with plots from the records

Runs are started by the other door, `python -m zoo.bench`.
"""

from __future__ import annotations

import argparse
import csv
import fnmatch
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import yaml

from zoo.catalog.entry import METRICS, Entry, PublishedCell, conf_dir, entry_names, read_entry, resolve
from zoo.errors import UsageError, ZooError, closest
from zoo.results.diff import ABSENT, diff_rows, entries_of, passes, render_comparison, render_diff
from zoo.results.ledger import Ledger, results_dir
from zoo.results.record import Record
from zoo.results.seeds import aggregate_seeds
from zoo.results.table import check_tables, stale_tables, write_tables
from zoo.results.verdict import catalogue_key, printed, source_of


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0 done, 1 the answer is no or something was not to be had, 2 usage.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        options = _parser().parse_args(arguments)
        command: Callable[[argparse.Namespace], int] = options.command
        status = command(options)
        sys.stdout.flush()  # here, where a closed pipe can still be answered for
    except ZooError as error:
        print(f"error: {error.message}\nnext: {error.next_step}", file=sys.stderr)
        return error.exit_status
    except SystemExit as stop:  # argparse has said what there is to say
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader (`| head`) has gone; nothing may be written at interpreter exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


class _Parser(argparse.ArgumentParser):
    """argparse, with errors in this project's two lines and the closest command."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, next_step=f"see `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            near = closest(str(value), [str(choice) for choice in action.choices])
            self.error(f"no {action.metavar or action.dest} {value!r}; {near}")


class _Version(argparse.Action):
    """Prints the version; looked up only when asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from zoo.runtime.provenance import zoo_version

        print(f"zoo {zoo_version()}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="zoo", description="Published detection model zoos, measured again.")
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(title="commands", metavar="command", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about, description=about)
        command.set_defaults(command=run)
        return command

    which = {"metavar": "ZOO|ENTRY|GLOB", "help": "a zoo, an entry (its zoo may be left out) or a glob"}
    listing = add("list", _list, "the entries of the catalogue")
    listing.add_argument("which", nargs="*", **which)  # type: ignore[arg-type]
    listing.add_argument("--format", choices=("table", "csv", "json", "names"), default="table")

    show = add("show", _show, "one entry: its parts, checkpoint and published numbers")
    show.add_argument("entry", metavar="ENTRY")
    show.add_argument("--json", action="store_true", help="as JSON")

    published = add("published", _published, "every published number with where it is printed, and what contradicts it")
    published.add_argument("which", nargs="*", **which)  # type: ignore[arg-type]
    about = "read Markdown files instead: their tables, and every issue that was found"
    published.add_argument("--read", nargs="+", type=Path, metavar="README.md", help=about)
    published.add_argument("--format", choices=("table", "csv"), default="table")

    fetch = add("fetch", _fetch, "download checkpoints and check their hashes")
    fetch.add_argument("which", nargs="+", **which)  # type: ignore[arg-type]
    _add_results_dir(fetch)

    table = add("table", _table, "write the tables from the records")
    table.add_argument("--check", action="store_true", help="write nothing; exit 1 where a table is out of date")
    _add_results_dir(table)

    diff = add("diff", _diff, "measured beside published; or two record files of one entry beside each other")
    diff.add_argument("which", nargs="*", metavar="ZOO|ENTRY|GLOB|RECORD.json", help=f"{which['help']}; or two records")
    _add_results_dir(diff)

    _add_results_dir(add("report", _report, "write a static HTML page with plots from the records"))
    return parser


def _add_results_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results-dir", type=Path, default=results_dir(), metavar="DIR", help="default: %(default)s")


def select(patterns: Sequence[str] = ()) -> list[Entry]:
    """The entries that zoos, names and globs mean, in catalogue order; all of them without a pattern.

    Raises:
        UsageError: a pattern that nothing fits.
    """
    names = entry_names()
    zoos = {name.split("_", 1)[0] for name in names}
    models = {name.split("_", 1)[1] for name in names}
    chosen: set[str] = set()
    for pattern in patterns or ("*",):
        fitting = fnmatch.filter(names, f"{pattern}_*" if pattern in zoos else pattern)
        if not fitting and pattern in models:
            fitting = [resolve(pattern)[0]]
        if not fitting:
            near = closest(pattern.strip("*?"), [*names, *models, *zoos])
            raise UsageError(f"no entry fits {pattern!r}; {near}", next_step="see `zoo list` for all entries")
        chosen.update(fitting)
    return sorted(map(read_entry, chosen), key=lambda entry: catalogue_key(entry.zoo, entry.name))


# --- the catalogue --------------------------------------------------------------------------------


def _list(options: argparse.Namespace) -> int:
    rows = [_summary(entry) for entry in select(options.which)]
    if options.format == "names":
        print("\n".join(row["entry"] for row in rows))
    elif options.format == "json":
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        _print_rows(rows, options.format)
    return 0


def _summary(entry: Entry) -> dict[str, str]:
    """An entry as one line of `zoo list`."""
    parts = {part: entry.parts.get(part, "") for part in ("detector", "backbone", "neck", "loss", "schedule")}
    numbers = {metric: printed(entry.cells(metric)) if entry.cells(metric) else "" for metric in ("box_AP", "mask_AP")}
    return {"entry": entry.name, "upstream": entry.upstream, **parts, **numbers, "checkpoint": evidence(entry)}


def evidence(entry: Entry) -> str:
    """How well the published hash identifies the file: "full", "prefix" or "first use"."""
    if entry.checkpoint.sha256 is not None:
        return "full"
    return "prefix" if entry.checkpoint.sha256_prefix is not None else "first use"


def _show(options: argparse.Namespace) -> int:
    name, others = resolve(options.entry)
    entry = read_entry(name)
    protocol = _protocol(entry)
    if options.json:
        print(json.dumps({**asdict(entry), "protocol": protocol}, indent=1, ensure_ascii=False))
        return 0
    checkpoint = entry.checkpoint
    print(f"{entry.name}: {entry.upstream} of {entry.zoo}, weights under {entry.license}")
    if others:
        print(f"  also in other zoos: {', '.join(others)}")
    print("\nparts")
    _print_pairs(entry.parts)
    print("\ncheckpoint")
    digits = checkpoint.sha256 or checkpoint.sha256_prefix
    hash_line = f"sha256 {digits}{'' if checkpoint.sha256 else '...'}" if digits else "none published"
    _print_pairs({"format": checkpoint.format, "keymap": checkpoint.keymap, "hash": f"{hash_line} ({evidence(entry)})"})
    _print_pairs({f"mirror {i}": url for i, url in enumerate(checkpoint.urls, start=1)})
    print("\npublished")
    for cell in entry.published:
        hardware = f" on {cell.hardware}" if cell.hardware else ""
        print(f"  {cell.metric:<16} {cell.text} {METRICS[cell.metric]}{hardware}, {source_of(cell)}")
    if protocol:
        print(f"\nprotocol\n  {protocol['name']}, version {protocol['version']}")
    print(f"\nrun it: python -m zoo.bench entry={entry.name}")
    return 0


def _protocol(entry: Entry) -> dict[str, Any] | None:
    """Name and version of an entry's protocol; None for an entry that chooses none."""
    option = entry.parts.get("protocol")
    if option is None:
        return None
    document = _part("protocol", option)
    if not {"name", "version"} <= set(document):
        message = f"{entry.name}: its protocol {option!r} has no name and version in conf/protocol"
        raise UsageError(message, next_step="add them, or correct the entry's `override /protocol` line")
    return {"name": document["name"], "version": document["version"]}


def _part(group: str, option: str) -> dict[str, Any]:
    """The top level of a part, on top of the options of its group that it begins with; empty where there is no file."""
    path = conf_dir() / group / f"{option}.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    own = dict(document or {})
    bases = [item for item in own.get("defaults") or () if isinstance(item, str) and item != "_self_"]
    return {key: value for base in bases for key, value in _part(group, base).items()} | own


def _published(options: argparse.Namespace) -> int:
    if options.read:
        return _read_published(options)
    cells = [(entry.name, cell) for entry in select(options.which) for cell in entry.published]
    conflicts = _conflicts(cells)
    rows = [
        {
            "entry": name,
            "metric": cell.metric,
            "text": cell.text,
            "unit": METRICS[cell.metric],
            "source": cell.source,
            "line": "" if cell.line is None else str(cell.line),
            "hardware": cell.hardware or "",
            "conflict": conflicts.get(_place(name, cell), ""),
        }
        for name, cell in cells
    ]
    _print_rows(rows, options.format)
    return 0


def _read_published(options: argparse.Namespace) -> int:
    from zoo.catalog.published.documents import read_file
    from zoo.catalog.published.issues import summary

    if options.which:
        message = f"--read takes files, and {', '.join(options.which)} is asked for as well"
        raise UsageError(message, next_step="zoo published --read README.md, without entries")
    documents = [read_file(path) for path in options.read]
    numbers = [number for found, _ in documents for number in found]
    conflicts = _conflicts([(number.entry, number.cell(number.file)) for number in numbers if number.entry])
    rows = [
        {
            "place": f"{number.file}:{number.line}",
            "side": number.side or "",
            "row": number.row,
            "entry": number.entry or "",
            "metric": number.metric,
            "text": number.text,
            "hardware": number.hardware or "",
            "raw": number.raw,
            "conflict": conflicts.get(_place(number.entry, number.cell(number.file)), ""),
        }
        for number in numbers
    ]
    _print_rows(rows, options.format)
    issues = summary(issue for _, found in documents for issue in found)
    if issues:
        aside = sys.stderr if options.format == "csv" else sys.stdout  # no remark among lines of CSV
        print("", "issues", *(f"  {line}" for line in issues), sep="\n", file=aside)
    return 0


def _place(name: str | None, cell: PublishedCell) -> tuple[str | None, str, str | None]:
    """What makes two published cells the same number: row, metric and hardware."""
    return name, cell.metric, cell.hardware


def _conflicts(cells: Iterable[tuple[str, PublishedCell]]) -> dict[tuple[str | None, str, str | None], str]:
    """The numbers that sources disagree about, all of them as one text."""
    groups: dict[tuple[str | None, str, str | None], list[PublishedCell]] = {}
    for name, cell in cells:
        groups.setdefault(_place(name, cell), []).append(cell)
    return {place: printed(group) for place, group in groups.items() if printed(group) != group[0].text}


# --- checkpoints ----------------------------------------------------------------------------------


def _fetch(options: argparse.Namespace) -> int:
    from zoo.checkpoints.fetch_checkpoint import fetch_checkpoint

    failures = 0
    for entry in select(options.which):
        try:
            file = fetch_checkpoint(entry.checkpoint, options.results_dir)
        except ZooError as error:  # the next entry may well be there
            failures += 1
            print(f"{entry.name}: {error.status.upper()}: {error.message}\n  next: {error.next_step}", file=sys.stderr)
        else:
            megabytes = file.size / 1e6
            print(f"{entry.name}: {file.path} ({megabytes:.1f} MB, sha256 {file.sha256[:8]}, {file.hash_evidence})")
    return 1 if failures else 0


# --- results --------------------------------------------------------------------------------------


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
        return _diff_records(options.which)
    root = options.results_dir
    ledger = Ledger(root)
    records = [*aggregate_seeds(ledger.records()), *ledger.attempts()]
    if options.which:
        records = _matching(records, options.which)
    if not records:
        raise _no_records(root)
    entries = entries_of(records)
    print(render_diff(records, entries), end="")
    return 0 if passes(diff_rows(records, entries)) else 1


def _matching(records: Sequence[Record], patterns: Sequence[str]) -> list[Record]:
    """The records that patterns mean; whatever has a name of its own answers to that, too."""
    own = {name for record in records for name in (record.entry, record.name) if name is not None}
    direct = {name for pattern in patterns for name in fnmatch.filter(own, pattern)}
    others = [pattern for pattern in patterns if not fnmatch.filter(own, pattern)]
    wanted = direct | ({entry.name for entry in select(others)} if others else set())
    return [record for record in records if record.entry in wanted or record.name in wanted]


def _diff_records(paths: Sequence[str]) -> int:
    if len(paths) != 2:
        raise UsageError("two record files are compared at a time", next_step="zoo diff OLD.json NEW.json")
    for path in paths:
        if not Path(path).is_file():
            raise UsageError(f"no record file {path}", next_step="records are under results/records/<hardware>/")
    old, new = (Record.read(Path(path)) for path in paths)
    print(render_comparison(old, new), end="")
    return 0


def _report(options: argparse.Namespace) -> int:
    from zoo.results.report.page import write_report

    print(f"wrote {write_report(options.results_dir)}")
    return 0


def _no_records(root: Path) -> ZooError:
    return ZooError(
        f"no records to read under {root / 'records'}",
        next_step="measure something first: python -m zoo.bench entry=ENTRY (see `zoo list`)",
    )


# --- output ---------------------------------------------------------------------------------------


def _print_rows(rows: Sequence[dict[str, str]], style: str) -> None:
    """Rows as an aligned table or as CSV."""
    header = list(rows[0]) if rows else []
    if style == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, header, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        print(text.getvalue(), end="")
        return
    from tabulate import tabulate

    lines = [[value or ABSENT for value in row.values()] for row in rows]
    print(tabulate(lines, headers=header, tablefmt="simple", disable_numparse=True))


def _print_pairs(pairs: Any) -> None:
    for name, value in pairs.items():
        print(f"  {name:<10} {value}")


if __name__ == "__main__":
    sys.exit(main())
