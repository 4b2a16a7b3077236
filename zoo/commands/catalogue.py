"""`zoo list`, `zoo show`, `zoo published`: the catalogue."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from zoo.catalog.entry import METRICS, Entry, PublishedCell, config_file, read_entry, resolve
from zoo.coco_tasks import TASKS
from zoo.commands.command import Command, add_which, completed
from zoo.commands.completers import entries
from zoo.commands.output import add_format, print_rows
from zoo.commands.selection import select
from zoo.errors import UsageError
from zoo.results.ladder import printed, source_of
from zoo.terminal import Layout


def _list(options: argparse.Namespace) -> int:
    rows = [_summary(entry) for entry in select(options.which)]
    if options.format == "names":
        print("\n".join(row["entry"] for row in rows))
    else:
        parts = ("upstream", "detector", "schedule", "loss", "neck", "checkpoint", "backbone")
        print_rows(rows if options.format != "table" else _of_the_rows(rows), options.format, Layout(drop=parts))
    return 0


def _summary(entry: Entry) -> dict[str, str]:
    """An entry as one line of `zoo list`."""
    parts = {part: entry.parts.get(part, "") for part in ("detector", "backbone", "neck", "loss", "schedule")}
    cells = {task.ap: entry.cells(task.ap) for task in TASKS.values()}
    numbers = {metric: printed(found) if found else "" for metric, found in cells.items()}
    return {"entry": entry.name, "upstream": entry.upstream, **parts, **numbers, "checkpoint": evidence(entry)}


def _of_the_rows(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The lines of `zoo list` for a terminal, without an AP that none of these rows publishes."""
    idle = {task.ap for task in TASKS.values() if not any(row[task.ap] for row in rows)}
    return [{key: text for key, text in row.items() if key not in idle} for row in rows]


def evidence(entry: Entry) -> str:
    """How well the published hash identifies the file: "full", "prefix" or "first use"."""
    if entry.checkpoint.sha256 is not None:
        return "full"
    return "prefix" if entry.checkpoint.sha256_prefix is not None else "first use"


def _show(options: argparse.Namespace) -> int:
    name, others = resolve(options.entry)
    entry = read_entry(name)
    if options.settings:
        return _show_settings(entry, options.format)
    if options.format == "json":
        print(json.dumps({**asdict(entry), "protocol": _protocol(entry)}, indent=1, ensure_ascii=False))
        return 0
    rows = list(_facts(entry))
    if options.format == "csv":
        print_rows(rows, options.format)
        return 0
    print(f"{entry.name}\n  {entry.upstream} of {entry.zoo}, weights under {entry.license}")
    if others:
        print(f"  also in other zoos: {', '.join(others)}")
    for subject, facts in groupby(rows, key=lambda row: row["of"]):
        print(f"\n{subject}")
        for row in facts:
            print(f"  {row['name']:<16} {', '.join(filter(None, (row['value'], row['source'])))}")
    print(f"\nrun it: zoo run {entry.name}")
    return 0


def _show_settings(entry: Entry, style: str) -> int:
    from zoo.config.comments import described
    from zoo.config.compose import compose

    rows = [
        {"setting": key, "value": value, "meaning": about}
        for key, value, about in described(compose(entry.name), entry.parts)
    ]
    if style == "table":  # as an override is written
        rows = [{"setting": f"{row['setting']}={row['value']}", "meaning": row["meaning"]} for row in rows]
    print_rows(rows, style, Layout(below=("meaning",)))
    return 0


def _facts(entry: Entry) -> Iterator[dict[str, str]]:
    """What is known of an entry, a row a fact."""

    def fact(of: str, name: str, value: str, source: str = "") -> dict[str, str]:
        return {"of": of, "name": name, "value": value, "source": source}

    for part, option in entry.parts.items():
        yield fact("parts", part, option)
    checkpoint = entry.checkpoint
    digits = checkpoint.sha256 or checkpoint.sha256_prefix
    hash_line = f"sha256 {digits}{'' if checkpoint.sha256 else '...'}" if digits else "none published"
    yield fact("checkpoint", "format", checkpoint.format)
    yield fact("checkpoint", "keymap", checkpoint.keymap)
    yield fact("checkpoint", "hash", f"{hash_line} ({evidence(entry)})")
    for i, url in enumerate(checkpoint.urls, start=1):
        yield fact("checkpoint", f"mirror {i}", url)
    for cell in entry.published:
        hardware = f" on {cell.hardware}" if cell.hardware else ""
        yield fact("published", cell.metric, f"{cell.text} {METRICS[cell.metric]}{hardware}", source_of(cell))
    protocol = _protocol(entry)
    if protocol:
        yield fact("protocol", protocol["name"], f"version {protocol['version']}")


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
    path = config_file(group, option)
    document = None if path is None else yaml.safe_load(path.read_text(encoding="utf-8"))
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
    print_rows(rows, options.format, Layout(group="entry", below=("conflict", "hardware")))
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
    print_rows(rows, options.format, Layout(group="place", below=("conflict", "raw", "hardware", "row")))
    issues = summary(issue for _, found in documents for issue in found)
    if issues:
        aside = sys.stdout if options.format == "table" else sys.stderr  # no remark among what programs read
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


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    add_which(parser)
    add_format(parser, "names")


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    completed(parser.add_argument("entry", metavar="ENTRY"), entries)
    parser.add_argument("--settings", action="store_true", help="its resolved settings instead, and what they mean")
    add_format(parser)


def _published_arguments(parser: argparse.ArgumentParser) -> None:
    add_which(parser)
    about = "read Markdown files instead: their tables, and every issue that was found"
    parser.add_argument("--read", nargs="+", type=Path, metavar="README.md", help=about)
    add_format(parser)


COMMANDS = (
    Command(name="list", theme="catalogue", about="the entries of the catalogue", run=_list, arguments=_list_arguments),
    Command(
        name="show",
        theme="catalogue",
        about="one entry: its parts, checkpoint and published numbers",
        run=_show,
        arguments=_show_arguments,
    ),
    Command(
        name="published",
        theme="catalogue",
        about="every published number, and where it is printed",
        run=_published,
        arguments=_published_arguments,
    ),
)
