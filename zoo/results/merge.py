"""Results of machines without a shared disk, as one: the records, local results and pins of other results folders.

The ledger decides as it does for runs of this machine: runs of one identity become one record, measurement by
measurement, a run of fewer images never replaces one of more, and machines stand side by side by their names. The
order in which folders are named changes nothing, and doing it again changes nothing either.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zoo.checkpoints.fetch_checkpoint import COMMITTED_PINS
from zoo.checkpoints.pins import LOCK_FILE, Pins
from zoo.errors import CheckpointError, UsageError
from zoo.files import files_below, result_errors
from zoo.results.ledger import Ledger, readable
from zoo.results.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedFile:
    """What became of one file of another results folder.

    Attributes:
        source: the file.
        outcome: "added", where nothing was there of its identity; "joined" with what was there; "unchanged", where
            that says all it says; "left out", where it is no record that can be filed.
        target: the file that now has its numbers, relative to the results folder; None where there is none.
        notes: sentences on what was kept or replaced, or why it was left out.
    """

    source: Path
    outcome: Literal["added", "joined", "unchanged", "left out"]
    target: Path | None = None
    notes: tuple[str, ...] = ()


def merge_folders(folders: Sequence[Path], into: Path, *, dry_run: bool = False) -> list[MergedFile]:
    """File what other results folders hold in one.

    Args:
        folders: results folders (with `records/` or `local/` in them).
        into: the results folder that takes their records.
        dry_run: whether to write nothing: everything is done to a copy.

    Returns:
        A line for each of their files, in the order of folders and names.

    Raises:
        UsageError: a folder is not there, has no results, or is the one that takes them.
        CheckpointError: an address was pinned, or measured, with two different files; nothing is written then.
        ZooError: the disk refuses.
    """
    files = [path for folder in folders for path in _files(folder, into)]
    locks = [folder / LOCK_FILE for folder in folders]
    found: dict[Path, Record | MergedFile] = {path: _read(path) for path in files}
    records = {path: record for path, record in found.items() if isinstance(record, Record)}
    _refuse_conflicting_weights(records, Pins(read=[COMMITTED_PINS, *locks], write=into / LOCK_FILE))
    with _place(into, dry_run=dry_run) as place:
        Pins(read=locks, write=place / LOCK_FILE).gather()
        ledger = Ledger(place)
        ledger.move_old_layout()

        # The latest first: it says which weights and data a record is of, whatever folder is named first.
        def by_time(path: Path) -> tuple[str, str]:
            return records[path].times.finished or "", records[path].to_json()

        for path in sorted(records, key=by_time, reverse=True):
            found[path] = _join(ledger, path, records[path])
    return [line for line in found.values() if isinstance(line, MergedFile)]


def _files(folder: Path, into: Path) -> list[Path]:
    """The files of a results folder that should be records, those of older layouts too."""
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}", next_step="name the results folder of another machine (results.dir)")
    if folder.resolve() == into.resolve():
        raise UsageError(f"{folder} is the folder to merge into", next_step="name another with --results-dir DIR")
    patterns = {"records": "*/*.json", "trained": "seed_*/records/*/*.json", "local": "**/*.json"}
    files = [path for name, pattern in patterns.items() for path in files_below(folder / name, pattern)]
    if not files:
        step = "name the folder that has `records` or `local` in it"
        raise UsageError(f"{folder} holds no results", next_step=step)
    return files


def _read(path: Path) -> Record | MergedFile:
    try:
        record = Record.read(path)
    except UsageError as error:
        return MergedFile(source=path, outcome="left out", notes=(error.message,))
    if record.hardware is None:
        return MergedFile(source=path, outcome="left out", notes=("it names no machine",))
    return record


def _refuse_conflicting_weights(records: dict[Path, Record], pins: Pins) -> None:
    pins.refuse_conflicts()
    for path, record in records.items():
        file = record.checkpoint
        if file is None or file.url is None or file.hash_evidence != "first use":
            continue
        pin = pins.find([file.url])
        if pin is not None and pin.sha256 != file.sha256:
            raise CheckpointError(
                f"{path} was measured with another file than was pinned on {pin.pinned}: {file.url} delivered "
                f"{file.sha256}, the pinned one is {pin.sha256}",
                next_step="find out which is the published one, and leave the other's records out",
            )


@contextmanager
def _place(into: Path, *, dry_run: bool) -> Iterator[Path]:
    """The results folder, or a copy of what a merge may change."""
    if not dry_run:
        yield into
        return
    with tempfile.TemporaryDirectory(prefix="zoo-merge-") as name, result_errors(Path(name)):
        copy = Path(name)
        for part in ("records", "local", "trained"):
            if (into / part).is_dir():
                shutil.copytree(into / part, copy / part)
        if (into / LOCK_FILE).is_file():
            shutil.copy(into / LOCK_FILE, copy)
        yield copy


def _join(ledger: Ledger, source: Path, record: Record) -> MergedFile:
    present = readable(ledger.path(record)) is not None
    filed = ledger.join(record)
    if filed is None:
        return MergedFile(source=source, outcome="unchanged")
    target = filed.path.relative_to(ledger.folder)
    return MergedFile(source=source, outcome="joined" if present else "added", target=target, notes=filed.notes)
