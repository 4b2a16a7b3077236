"""`zoo fetch`: checkpoints, or whether they can still be had."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from zoo.commands.command import Command, add_results_dir, add_which
from zoo.commands.output import add_format, print_rows
from zoo.commands.selection import select
from zoo.errors import UsageError, ZooError
from zoo.terminal import Layout

if TYPE_CHECKING:
    from zoo.checkpoints.audit import AuditedFile


def _fetch(options: argparse.Namespace) -> int:
    if options.check:
        return _check(options)
    if not options.which:
        raise UsageError("nothing to fetch", next_step="name a zoo, an entry or a glob, or ask with --check")
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


def _check(options: argparse.Namespace) -> int:
    from zoo.checkpoints.audit import audit_checkpoints

    files = audit_checkpoints(select(options.which), options.results_dir)
    rows = [row for file in files for row in _mirror_rows(file)]
    print_rows(rows, options.format, Layout(group="entry", below=("url", "note", "last_seen")))
    mirrors = {mirror.url: mirror.status for file in files for mirror in file.mirrors}
    alive = sum(status == "alive" for status in mirrors.values())
    if options.format == "table":
        print(f"\n{alive} of {len(mirrors)} mirrors alive; {len(files)} files of {len({f.entry for f in files})} rows")
    lost = [file for file in files if file.status != "ok"]
    for file in lost:
        why = "no mirror is alive" if file.mirrors else "no address is known"
        tell = f"{file.status}: {why}" if file.status == "BLOCKED" else "only a download would tell whether it is there"
        print(f"{file.entry}: {file.role}: {tell}", file=sys.stderr)
    if lost:
        print(
            "next: check the network, ask again later, or give a file you have with checkpoint.path=FILE",
            file=sys.stderr,
        )
    return 1 if lost else 0


def _mirror_rows(file: AuditedFile) -> list[dict[str, str]]:
    """A line for each mirror of a file; one that says so where there is none."""
    about = {"entry": file.entry, "file": file.role, "status": file.status}
    if not file.mirrors:
        said = {"mirror": "", "bytes": "", "hash_evidence": file.hash_evidence, "last_seen": "", "url": ""}
        return [about | said | {"note": "no address is known"}]
    return [
        about
        | {
            "mirror": mirror.status,
            "bytes": "" if mirror.size is None else str(mirror.size),
            "hash_evidence": file.hash_evidence,
            "last_seen": mirror.last_seen or "",
            "url": mirror.url,
            "note": mirror.reason or "",
        }
        for mirror in file.mirrors
    ]


def _fetch_arguments(parser: argparse.ArgumentParser) -> None:
    add_which(parser)
    parser.add_argument(
        "--check", action="store_true", help="fetch nothing: ask every mirror (HEAD) whether the file is there"
    )
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
