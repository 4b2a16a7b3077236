"""What an export is: a value that turns measured records into documents, the same ones however often it is asked."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.catalog.entry import Entry
from zoo.errors import UsageError, ZooError
from zoo.files import result_errors, write_atomically
from zoo.results import export as formats
from zoo.results.diff import entries_of
from zoo.results.ledger import Ledger
from zoo.results.record import CheckpointRecord, DataRecord, Part, Record
from zoo.runtime.hardware import Hardware
from zoo.types import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A measured record of a row, with everything that an export may take for granted.

    Attributes:
        path: its file.
        record: what it holds.
        entry: the row; None where it has left the catalogue.
        checkpoint, data, hardware: those of the record.
    """

    path: Path
    record: Record
    entry: Entry | None
    checkpoint: CheckpointRecord
    data: DataRecord
    hardware: Hardware

    @property
    def name(self) -> str:
        """What it is called among all records: machine, row and condition, as its file is."""
        return f"{self.hardware.id}/{self.path.stem}"

    @property
    def model(self) -> str:
        """The row without its zoo."""
        return self.record.entry.removeprefix(f"{self.record.zoo}_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One file of an export.

    Attributes:
        path: its place below the folder that is asked for.
        text: its content.
    """

    path: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A record that a format cannot say anything true of.

    Attributes:
        name: the record.
        reason: why, as a clause.
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be exported.

    Attributes:
        results_dir: results folder that the records are of.
        records: measured records, sorted by machine and file name.
        hub_dataset: data set of the Hugging Face Hub that the numbers are of, as `owner/name`.
    """

    results_dir: Path
    records: Sequence[Measured] = ()
    hub_dataset: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One format.

    Attributes:
        write: makes the documents.
        of_records: whether it has something to say of records; else it is asked with none.
    """

    write: Callable[[Request], Iterator[Document | LeftOut]]
    of_records: bool = True


def export_names() -> list[str]:
    """The formats: names of the files of `zoo.results.export`, with hyphens. None of them is imported for that."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(formats.__path__))


def export_of(name: str) -> Export:
    """The format of a name of `export_names`."""
    export: Export = importlib.import_module(f"{formats.__name__}.{name.replace('-', '_')}").EXPORT
    return export


def measured_records(results_dir: Path, rows: Sequence[str] | None) -> list[Measured]:
    """The measured records of rows, ready to be exported.

    Args:
        results_dir: results folder.
        rows: names of the entries; None for all, those that have left the catalogue too.

    Raises:
        UsageError: a record is damaged.
        ZooError: there is none.
    """
    filed = Ledger(results_dir).filed()
    chosen = {path: record for path, record in filed.items() if rows is None or record.entry in rows}
    if not chosen:
        raise ZooError(
            f"no measured records of these rows under {results_dir / 'records'}",
            next_step="measure one first: zoo run ENTRY (see `zoo status`)",
        )
    entries = entries_of(chosen.values())
    found = []
    for path, record in chosen.items():
        if record.checkpoint is None or record.data is None or record.hardware is None:
            raise UsageError(f"{path}: measured without a checkpoint", next_step="delete it and run its entry again")
        found.append(
            Measured(
                path=path,
                record=record,
                entry=entries.get(record.entry),
                checkpoint=record.checkpoint,
                data=record.data,
                hardware=record.hardware,
            )
        )
    return found


def write_export(export: Export, request: Request, folder: Path) -> tuple[list[Path], list[LeftOut]]:
    """Write the documents of a format.

    Returns:
        The files, and the records that the format says nothing of.

    Raises:
        UsageError: the format needs to know something that it was not told, two versions of a measurement meet, or a
            name in a record is none that a file can have.
        ZooError: the disk refuses.
    """
    files, left_out = [], []
    for item in list(export.write(request)):  # all of them first: an export is whole or not there
        if isinstance(item, LeftOut):
            left_out.append(item)
            continue
        path = folder / item.path
        if not path.resolve().is_relative_to(folder.resolve()):  # a name in a record leads elsewhere
            raise UsageError(f"{item.path} leaves {folder}", next_step="delete that record, and run its entry again")
        with result_errors(path):
            write_atomically(path, item.text)
        files.append(path)
    return files, left_out


def json_text(document: Json) -> str:
    """A document as JSON text, with every digit of a float."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def part_of(record: Record, key: str) -> tuple[str, Part]:
    """The measurement that gave a number of a record, by its dotted key: its name, and where its numbers come from.

    Raises:
        KeyError: none of its parts did.
    """
    first = key.split(".", 1)[0]
    for name, part in record.parts.items():
        if first in part.values:
            return name, part
    raise KeyError(key)


def provenance(measured: Measured, key: str) -> dict[str, str]:
    """What everybody has to know who is to believe a number: weights, data, protocol, code and machine.

    Args:
        measured: the record.
        key: dotted key of the number.
    """
    record, checkpoint, data, hardware = measured.record, measured.checkpoint, measured.data, measured.hardware
    name, part = part_of(record, key)
    facts = {
        "checkpoint_sha256": checkpoint.sha256,
        "checkpoint_url": checkpoint.url,
        "hash_evidence": checkpoint.hash_evidence,
        "data": f"{data.name} {data.split}",
        "images": str(data.images),
        "annotations_sha256": data.annotations_sha256,
        "files_sha256": data.files_sha256,
        "protocol": record.protocol.name,
        "protocol_version": str(record.protocol.version),
        "measurement": name,
        "measurement_version": str(part.version),
        "conditions": ", ".join(record.identity.conditions),
        "measured_at": part.finished,
        "code_version": part.code.version,
        "code_commit": part.code.commit or "unknown",
        "code_dirty": "unknown" if part.code.dirty is None else str(part.code.dirty).lower(),
        "machine": hardware.id,
        "device": hardware.device,
        "torch": hardware.software.torch,
        "torchvision": hardware.software.torchvision,
    }
    return {name: fact for name, fact in facts.items() if fact}
