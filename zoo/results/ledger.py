"""The ledger: the records of a results folder, each under the row and the condition that it is of.

    records/<machine>/<entry>[+condition...].json   whole splits of known data, with the row's weights
    local/<machine>/<name>.json                     everything else: changed, partial, other data or weights, blocked,
                                                    and whatever the user gave a name

Runs of one identity become one record: every measurement in it is the newest that says as much as the one
before. What was measured is never lost to a run that measured something else, or less.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from filelock import FileLock

from zoo.errors import UsageError, closest
from zoo.fetch.hashes import hash_file
from zoo.files import PROJECT, files_below, remove_rests, result_errors
from zoo.results.identity import digest, file_stem
from zoo.results.names import bounded, different_run, local_name, subject_of
from zoo.results.record import Part, Record
from zoo.types import Json


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
        """Where a record belongs.

        Raises:
            ValueError: the run ended before its machine was looked at, and belongs nowhere.
        """
        if record.hardware_id is None:
            raise ValueError(f"{record.label}: no machine")
        if not record.belongs_to_the_row:
            return self._local_path(record)
        conditions = record.identity.conditions
        if record.trained:
            seeds = ("trained", f"seed={record.seed}")
            conditions = (*seeds, *(item for item in conditions if not item.startswith("seed=")))
        return self.root / record.hardware_id / f"{bounded(file_stem(record.entry, conditions))}.json"

    def _local_path(self, record: Record) -> Path:
        """Where a record of its own name belongs: of two that would be called alike the second one by its hash too."""
        folder, name = self.local / str(record.hardware_id), bounded(record.name or local_name(record))
        if record.status != "measured":
            return folder / f"{name}+{record.status}.json"
        path = folder / f"{name}.json"
        there = readable(path)
        if there is None or subject_of(there) == subject_of(record):
            return path
        return folder / f"{name}-{digest(subject_of(record))[:8]}.json"

    def refuse_taken_name(self, record: Record, checkpoint: Path | None) -> None:
        """Look whether the name of a run that is about to begin is that of another one.

        Args:
            record: the run, before anything is measured.
            checkpoint: the file of the user's own that it is asked to begin with.

        Raises:
            UsageError: a run of another entry, composition, condition or weights has the name.
        """
        if record.name is None:
            return
        for path in files_below(self.local, f"*/{record.name}.json"):
            there = readable(path)
            if there is None:
                continue
            differs = different_run(there, record)
            if differs is None and checkpoint is not None and checkpoint.is_file():
                known = subject_of(there)["weights"]
                differs = "of other weights" if known not in (None, hash_file(checkpoint).sha256) else None
            if differs is not None:
                message = f"name={record.name}: {path} holds a run {differs}"
                step = f"choose another name, or take that one away with `{self.forget_command(record.name)}`"
                raise UsageError(message, next_step=step)

    def forget_command(self, name: str) -> str:
        """What takes away the local results of a name."""
        elsewhere = "" if self.folder == results_dir() else f" --results-dir {shlex.quote(str(self.folder))}"
        return f"zoo forget {name}{elsewhere}"

    def forget(self, name: str) -> list[Path]:
        """Take away the local results of a name, measured or not, of every machine.

        Returns:
            The files that are gone.

        Raises:
            UsageError: there is none, or the name is that of a row's record.
            ZooError: the disk refuses.
        """
        files = {path: path.stem for path in files_below(self.local, "**/*.json")}
        chosen = [path for path, stem in files.items() if stem in (name, f"{name}+blocked", f"{name}+failed")]
        if not chosen:
            rows = [path for path in files_below(self.root, "*/*.json") if path.stem == name]
            if rows:
                message = f"{name} is a record of the row, not a local result: {', '.join(map(str, rows))}"
                raise UsageError(message, next_step="remove that file, then write the tables anew with `zoo table`")
            near = closest(name, files.values()) if files else "there is none"
            raise UsageError(f"no local result {name!r} ({near})", next_step="see `zoo status` for their names")
        with result_errors(self.local), FileLock(self.folder / ".ledger.lock"):
            for path in chosen:
                path.unlink(missing_ok=True)
        return chosen

    def file(self, record: Record, run_dir: Path = Path()) -> Filed:
        """File a record, together with what is there of the same identity. Moves what an older layout left.

        A run that ended before its machine was looked at (a device that is not there) tried nothing on any
        machine, so that it is no result of one: its record stays in its folder alone.

        Args:
            record: the run, complete.
            run_dir: its folder, which has its record already.

        Raises:
            ZooError: the disk refuses.
        """
        if record.hardware is None:
            return Filed(run_dir / "record.json", record, ("not filed: the run ended before it used a machine",))
        with result_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / ".ledger.lock")
            with lock:
                self._move_old_layout()
                path = self.path(record)
                before = readable(path)
                merged, notes = (record, _set_aside(path)) if before is None else merge(before, record)
                remove_rests(path)
                merged.write(path)
                if record.status == "measured":
                    self._forget_attempts(record)
        if not record.belongs_to_the_row:
            called = record.name or path.stem
            if record.status == "measured" and path.stem != called:
                notes = (*notes, f"another run is called {called}: this one is {path.stem}")
            notes = (*notes, f"called {path.stem}: `{self.forget_command(path.stem)}` takes it away")
        return Filed(path, merged, notes)

    def join(self, record: Record) -> Filed | None:
        """File a record of another results folder. Of two of one identity the later stands, whichever comes first.

        A run that could not measure a row says nothing of one that was measured after it.

        Returns:
            What became of it; None where nothing had to be changed.

        Raises:
            ZooError: the disk refuses.
        """
        with result_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".ledger.lock"):
                path = self.path(record)
                there = readable(path)
                if there is None:
                    if self._measured_since(record):
                        return None
                    merged, notes = record, _set_aside(path)
                else:
                    earlier, later = sorted((there, record), key=lambda run: run.times.finished or "")
                    merged, notes = merge(earlier, later)
                    if merged == there:
                        return None
                remove_rests(path)
                merged.write(path)
                if record.status == "measured":
                    self._forget_attempts(record)
        return Filed(path, merged, notes)

    def move_old_layout(self) -> None:
        """Put every record where the present layout has it, as `file` does. Raises ZooError where the disk refuses."""
        with result_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".ledger.lock"):
                self._move_old_layout()

    def _measured_since(self, attempt: Record) -> bool:
        """Whether a run that measured nothing was followed by one of the same row that did."""
        rows = map(readable, (self.root / str(attempt.hardware_id)).glob(f"{attempt.entry}*.json"))
        return any(row is not None and _is_attempt_before(attempt, row) for row in rows)

    def records(self) -> list[Record]:
        """The records of rows, sorted by machine and file name."""
        return list(self.filed().values())

    def filed(self) -> dict[Path, Record]:
        """The same by their files.

        Raises:
            UsageError: a record is damaged.
        """
        found = _read_all((*files_below(self.root, "*/*.json"), *self._old_layout()))
        return {path: record for path, record in found.items() if record.belongs_to_the_row}

    def attempts(self) -> list[Record]:
        """Everything that is under a name of its own: changed, partial, other data or weights, blocked, failed."""
        return list(self.filed_attempts().values())

    def filed_attempts(self) -> dict[Path, Record]:
        """The same by their files. Raises UsageError: one is damaged."""
        paths = (*files_below(self.root, "*/*.json"), *self._old_layout(), *files_below(self.local, "**/*.json"))
        found = _read_all(sorted(set(paths)))
        return {path: record for path, record in found.items() if not record.belongs_to_the_row}

    def named(self) -> list[tuple[str, Record]]:
        """Everything of `attempts` that is filed: name, as `forget` takes it, and record; sorted.

        Raises:
            UsageError: a record is damaged.
        """
        paths = sorted(files_below(self.local, "**/*.json"), key=lambda path: (path.stem, path))
        return [(path.stem, record) for path, record in _read_all(paths).items()]

    def _forget_attempts(self, record: Record) -> None:
        """Remove what says that something could not be measured, now that it was."""
        folder = self.local / str(record.hardware_id)
        for path in (*folder.glob("*+blocked.json"), *folder.glob("*+failed.json")):
            attempt = readable(path)
            if attempt is not None and _is_attempt_before(attempt, record):
                path.unlink()

    def _old_layout(self) -> list[Path]:
        """Records of trainings, which had folders of their own by seed."""
        return files_below(self.folder / "trained", "seed_*/records/*/*.json")

    def _move_old_layout(self) -> None:
        """Put every record that lies elsewhere where it belongs; damaged ones stay where they are."""
        for path in (*files_below(self.root, "*/*.json"), *self._old_layout()):
            record = readable(path)
            if record is None or record.hardware is None:
                continue
            target = self.path(record)
            if target == path:
                continue
            there = readable(target)
            (record if there is None else merge(record, there)[0]).write(target)
            path.unlink()
            for folder in takewhile(lambda folder: folder != self.folder, path.parents):  # where they are empty now
                with contextlib.suppress(OSError):
                    folder.rmdir()


def merge(before: Record, after: Record) -> tuple[Record, tuple[str, ...]]:
    """Two records of one identity as one.

    Returns:
        The newer record with what the older one knows besides, and sentences on what was kept or replaced.
    """
    if after.status != "measured" or before.status != "measured":
        return after, ()
    different = different_subject(before, after)
    if different:
        lost = ", ".join(before.parts)
        return after, (f"{lost} of the record before replaced: {different}",) if lost else ()
    parts: dict[str, Part] = {}
    measured: dict[str, Json] = {}
    notes: list[str] = []
    for name in dict.fromkeys((*after.parts, *before.parts)):
        old, new = before.parts.get(name), after.parts.get(name)
        chosen = before if new is None else after
        if old is not None and new is not None:
            keep, note = _keeps(name, old, new)
            chosen = before if keep else after
            notes += [note] if note else []
        parts[name] = chosen.parts[name]
        measured |= {key: chosen.measured[key] for key in parts[name].values if key in chosen.measured}
    protocol = after.protocol
    if parts.get("accuracy") is before.parts.get("accuracy"):
        protocol = dataclasses.replace(protocol, batches=before.protocol.batches)
    return dataclasses.replace(after, parts=parts, measured=measured, protocol=protocol), tuple(notes)


def _keeps(name: str, old: Part, new: Part) -> tuple[bool, str | None]:
    """Whether a measurement of the record before stays, and a sentence on what was kept or replaced.

    The newer of two versions counts, then the one of more images, then the later one.
    """
    if old.version != new.version:
        if old.version > new.version:
            return True, f"{name} kept: the record before has it in version {old.version}, this run in {new.version}"
        return False, f"{name} of version {old.version} replaced by version {new.version}"
    if (old.images or 0) != (new.images or 0):
        keep = (old.images or 0) > (new.images or 0)
        note = f"{name} kept: the record before has it of {old.images} images, this run of {new.images}"
        return keep, note if keep else None
    if old.finished > new.finished:  # of a record from elsewhere: a run of this machine is always the later one
        return True, f"{name} kept: the record before measured it at {old.finished}, this run at {new.finished}"
    return False, None


def different_subject(before: Record, after: Record) -> str | None:
    """Why two records of one file name are not of the same thing, as the end of a sentence."""
    weights = [record.checkpoint.sha256 if record.checkpoint else None for record in (before, after)]
    if weights[0] != weights[1]:
        return "its checkpoint was another file"
    data = [record.data.annotations_sha256 if record.data else None for record in (before, after)]
    if data[0] != data[1]:
        return "its data was other data"
    images = {record.data.files_sha256 for record in (before, after) if record.data} - {None}
    if len(images) > 1:
        return "its images were other images"
    rows = [(record.identity.scheme, record.identity.row) for record in (before, after)]
    if rows[0] != rows[1] and None not in (rows[0][1], rows[1][1]):
        return "the row was composed otherwise"
    return None


def _is_attempt_before(attempt: Record, done: Record) -> bool:
    """Whether a run tried to measure what a record has, could not, and ended before that was measured.

    A row is the same wherever its files lie; of a trial data and weights are known by what was asked for.
    """

    def asked(record: Record) -> list[object]:
        identity, config = record.identity, record.protocol.config
        same: list[object] = [record.entry, record.name, record.trained, identity.changes, identity.conditions]
        return same if done.belongs_to_the_row else [*same, config.get("data"), config.get("checkpoint")]

    return (
        attempt.status != "measured"
        and not (done.belongs_to_the_row and attempt.other_weights)
        and asked(attempt) == asked(done)
        and (attempt.times.finished or "") <= (done.times.finished or "")
    )


def all_records(folder: Path) -> Iterator[Record]:
    """Rows and attempts of a results folder."""
    ledger = Ledger(folder)
    yield from ledger.records()
    yield from ledger.attempts()


def _read_all(paths: Iterable[Path]) -> dict[Path, Record]:
    """The record in each file, without files that another process has taken away since they were listed.

    Raises:
        UsageError: one is damaged.
    """
    found = {}
    for path in paths:
        try:
            found[path] = Record.read(path)
        except UsageError:
            if path.exists() or path.is_symlink():
                raise
    return found


def _set_aside(path: Path) -> tuple[str, ...]:
    """Keep what lies in the place of a record and is none: it may be damaged, or a newer version's. Says where."""
    if not (path.exists() or path.is_symlink()):
        return ()
    aside = path.with_suffix(".damaged")
    path.replace(aside)
    return (f"{path} was no record that can be read: it is kept as {aside.name}",)


def readable(path: Path) -> Record | None:
    """The record in a file; None where there is none, or one that says nothing (damaged)."""
    try:
        return Record.read(path) if path.is_file() else None
    except UsageError:
        return None
