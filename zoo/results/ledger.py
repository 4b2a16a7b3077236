"""The ledger: the records of a results folder, each under the row and the condition that it is of.

    records/<machine>/<entry>[+condition...].json   whole splits of known data, with the row's weights
    local/[<machine>/]<name>.json                   everything else: changed, partial, other data or weights, blocked

Runs of one identity become one record: every measurement in it is the newest that says as much as the one
before. What was measured is never lost to a run that measured something else, or less.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from filelock import FileLock

from zoo.errors import UsageError
from zoo.files import PROJECT, result_errors
from zoo.results.identity import digest, file_stem, slug
from zoo.results.record import Part, Record
from zoo.types import Json

LONGEST_NAME = 120
"""Characters of a name made of what differs; beyond them a hash stands for the rest."""


@dataclass(frozen=True, slots=True)
class Filed:
    """What became of a record.

    Attributes:
        path: file that now has its numbers.
        record: what that file holds.
        notes: sentences on what was kept in its place, and what it replaced.
    """

    path: Path
    record: Record
    notes: tuple[str, ...] = ()


def results_dir() -> Path:
    """The folder of records and tables: the checkout's, or ./results for an installed package."""
    checkout = PROJECT / "results"
    return checkout if checkout.is_dir() else Path("results")


class Ledger:
    """The records of a results folder.

    Args:
        folder: the results folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "records"
        self.local = folder / "local"

    def path(self, record: Record) -> Path:
        """Where a record belongs."""
        if not record.belongs_to_the_row:
            machine = self.local / record.hardware_id if record.hardware_id else self.local
            return machine / f"{record.name or local_name(record)}.json"
        conditions = record.identity.conditions
        if record.trained:
            seeds = ("trained", f"seed={record.seed}")
            conditions = (*seeds, *(item for item in conditions if not item.startswith("seed=")))
        return self.root / str(record.hardware_id) / f"{_bounded(file_stem(record.entry, conditions))}.json"

    def file(self, record: Record) -> Filed:
        """File a record, together with what is there of the same identity. Moves what an older layout left.

        Raises:
            ZooError: the disk refuses.
        """
        with result_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / ".ledger.lock")
            with lock:
                self._move_old_layout()
                path = self.path(record)
                before = _readable(path)
                merged, notes = (record, ()) if before is None else merge(before, record)
                merged.write(path)
                if record.belongs_to_the_row:
                    self._forget_attempts(record)
        return Filed(path, merged, notes)

    def records(self) -> list[Record]:
        """The records of rows, sorted by machine and file name."""
        old = [path for path in self._old_layout() if path.parent.parent != self.root]
        found = [Record.read(path) for path in (*sorted(self.root.glob("*/*.json")), *old)]
        return [record for record in found if record.belongs_to_the_row]

    def attempts(self) -> list[Record]:
        """Everything that is under a name of its own: changed, partial, other data or weights, blocked, failed."""
        paths = (*self.root.glob("*/*.json"), *self._old_layout(), *self.local.rglob("*.json"))
        found = [Record.read(path) for path in sorted(set(paths))]
        return [record for record in found if not record.belongs_to_the_row]

    def _forget_attempts(self, record: Record) -> None:
        """Remove what says that a row could not be measured, now that it was."""
        for folder in (self.local, self.local / str(record.hardware_id)):
            for path in folder.glob(f"{record.entry}+*.json"):
                earlier = _readable(path)
                if earlier is None or earlier.status == "measured" or earlier.identity.changes:
                    continue
                if (earlier.trained, earlier.identity.conditions) == (record.trained, record.identity.conditions):
                    path.unlink()

    def _old_layout(self) -> list[Path]:
        """Records of trainings, which had folders of their own by seed."""
        return sorted(self.folder.glob("trained/seed_*/records/*/*.json"))

    def _move_old_layout(self) -> None:
        """Put every record that lies elsewhere where it belongs; damaged ones stay where they are."""
        for path in (*sorted(self.root.glob("*/*.json")), *self._old_layout()):
            record = _readable(path)
            if record is None or self.path(record) == path:
                continue
            target = self.path(record)
            there = _readable(target)
            (record if there is None else merge(record, there)[0]).write(target)
            path.unlink()
            for folder in takewhile(lambda folder: folder != self.folder, path.parents):  # where they are empty now
                with contextlib.suppress(OSError):
                    folder.rmdir()


def local_name(record: Record) -> str:
    """A readable name made of what differs from the row."""
    identity, words = record.identity, [record.entry]
    words += [slug(item) for item in (*identity.changes, *identity.conditions)]
    if record.trained:
        words.append(f"trained+seed-{record.seed}")
    if record.other_weights and record.checkpoint is not None:
        stem = slug(Path(record.checkpoint.path or "weights").stem)
        words.append(f"{stem}-{record.checkpoint.sha256[:8]}")
    if record.data is not None and not record.data.known:
        words.append(f"data-{record.data.annotations_sha256[:8]}")
    if record.status != "measured":
        words.append(record.status)
    return _bounded("+".join(words))


def _bounded(name: str) -> str:
    """A name that is fit for a file: of a long one the beginning, and a hash of the whole."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 9]}+{digest(name)[:8]}"


def merge(before: Record, after: Record) -> tuple[Record, tuple[str, ...]]:
    """Two records of one identity as one.

    Returns:
        The newer record with what the older one knows besides, and sentences on what was kept or replaced.
    """
    if after.status != "measured" or before.status != "measured":
        return after, ()
    different = _different_subject(before, after)
    if different:
        lost = ", ".join(before.parts)
        return after, (f"{lost} of the record before replaced: {different}",) if lost else ()
    parts: dict[str, Part] = {}
    measured: dict[str, Json] = {}
    notes: list[str] = []
    for name in dict.fromkeys((*after.parts, *before.parts)):
        old, new = before.parts.get(name), after.parts.get(name)
        chosen = after if old is None else before if new is None else after
        if old is not None and new is not None:
            if old.version != new.version:
                notes.append(f"{name} of version {old.version} replaced by version {new.version}")
            elif (old.images or 0) > (new.images or 0):
                chosen = before
                notes.append(f"{name} kept: the record before has it of {old.images} images, this run of {new.images}")
        parts[name] = chosen.parts[name]
        measured |= {key: chosen.measured[key] for key in parts[name].values if key in chosen.measured}
    protocol = after.protocol
    if parts.get("accuracy") is before.parts.get("accuracy"):
        protocol = dataclasses.replace(protocol, batches=before.protocol.batches)
    return dataclasses.replace(after, parts=parts, measured=measured, protocol=protocol), tuple(notes)


def _different_subject(before: Record, after: Record) -> str | None:
    """Why two records of one file name are not of the same thing, as the end of a sentence."""
    weights = [record.checkpoint.sha256 if record.checkpoint else None for record in (before, after)]
    if weights[0] != weights[1]:
        return "its checkpoint was another file"
    data = [record.data.annotations_sha256 if record.data else None for record in (before, after)]
    if data[0] != data[1]:
        return "its data was other data"
    rows = [(record.identity.scheme, record.identity.row) for record in (before, after)]
    if rows[0] != rows[1] and None not in (rows[0][1], rows[1][1]):
        return "the row was composed otherwise"
    return None


def all_records(folder: Path) -> Iterator[Record]:
    """Rows and attempts of a results folder."""
    ledger = Ledger(folder)
    yield from ledger.records()
    yield from ledger.attempts()


def _readable(path: Path) -> Record | None:
    """The record in a file; None where there is none, or one that says nothing (damaged)."""
    try:
        return Record.read(path) if path.is_file() else None
    except UsageError:
        return None
