"""All rows of one state of the results: the records as they are, those of a commit, a version of the tables."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import UsageError, closest
from zoo.measure.measurement import Column, measurements
from zoo.results import machines
from zoo.results.cells import protocol_version, provenance, stamp, weights
from zoo.results.compare.versions import ACCURACY
from zoo.results.ledger import Ledger
from zoo.results.published import machine_of
from zoo.results.record import Record
from zoo.results.seeds import aggregate_seeds, label, without_seeds

FEWEST_DIGITS = 4
"""Hex digits of a table version that its beginning must have at least."""

_NUMBER = re.compile(r"-?\d+(\.\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRow:
    """An entry under one condition on one machine.

    Attributes:
        label: entry and condition, as tables call them, without the number of seeds.
        machine: name of the machine.
        protocol: name of the protocol.
        weights: first digits of the sha256 of the weights; a dash where a row has none.
        numbers: measurement -> column of the tables -> number, in the unit of the table.
        versions: measurement -> its version.
        stamps: measurement -> when it was measured, and by which commit.
        onnx_on: the CPU that an exported network was timed on; empty where none was.
    """

    label: str
    machine: str
    protocol: str
    weights: str
    numbers: Mapping[str, Mapping[str, float]]
    versions: Mapping[str, str]
    stamps: Mapping[str, str]
    onnx_on: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One state of the results.

    Attributes:
        title: what it is called in messages.
        rows: its rows.
        rounded: whether its numbers have no more digits than tables show.
    """

    title: str
    rows: tuple[MeasuredRow, ...]
    rounded: bool = False


def present(results_dir: Path) -> Snapshot:
    """The records of a results folder as they are."""
    return _of_records(f"the records in {results_dir}", Ledger(results_dir).records())


def of_commit(commit: str, results_dir: Path) -> Snapshot:
    """The records of a results folder as a commit has them. Nothing is checked out.

    Args:
        commit: anything that git takes for one.
        results_dir: a folder in a git checkout.

    Raises:
        UsageError: there is no git, checkout or such commit; it has no records there, or a damaged one.
    """
    full = _git(results_dir, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}")
    if full is None:
        message = f"git:{commit}: no such commit in the checkout of {results_dir}"
        raise UsageError(message, next_step="see `git log` for its name; of a shallow clone fetch it first")
    full = full.strip()
    listed = _git(results_dir, "ls-tree", "-r", "-z", "--name-only", full, "--", "records/") or ""
    paths = [path for path in listed.split("\0") if path.endswith(".json")]
    if not paths:
        message = f"git:{commit}: it has no records in {results_dir / 'records'}"
        raise UsageError(message, next_step="name a commit in which they are")
    records = [
        Record.from_json(_git(results_dir, "show", f"{full}:./{path}") or "", where=f"git:{commit}:{path}")
        for path in paths
    ]
    return _of_records(f"git:{commit}", (record for record in records if record.belongs_to_the_row))


def table_versions(results_dir: Path) -> list[str]:
    """The versions of the tables that are there."""
    return sorted(path.name for path in (results_dir / "tables").glob("*") if path.is_dir())


def matching_versions(word: str, results_dir: Path) -> list[str]:
    """The versions of the tables that a word is, or begins."""
    if len(word) < FEWEST_DIGITS:
        return []
    return [version for version in table_versions(results_dir) if version.startswith(word)]


def of_tables(word: str, results_dir: Path) -> Snapshot:
    """The tables of one version.

    Args:
        word: the version, or a beginning of it that no other has.

    Raises:
        UsageError: there is no such version, there are several, or its tables cannot be read.
    """
    found = matching_versions(word, results_dir)
    if len(found) != 1:
        known = table_versions(results_dir)
        message = f"table versions that begin with {word!r}: {', '.join(found)}"
        if not found:
            near = closest(word, known) if known else "there is none"
            message = (
                f"no table version {word!r} of at least {FEWEST_DIGITS} digits in {results_dir / 'tables'} ({near})"
            )
        raise UsageError(message, next_step="write one version out; they are the folders of results/tables")
    paths = [path for path in sorted((results_dir / "tables" / found[0]).glob("*.json")) if path.stem != machines.NAME]
    rows = [row for path in paths for row in _rows_of_table(path)]
    return Snapshot(title=f"table {found[0]}", rows=tuple(rows), rounded=True)


def _of_records(title: str, records: Iterable[Record]) -> Snapshot:
    return Snapshot(title=title, rows=tuple(_of_record(record) for record in aggregate_seeds(records)))


def _of_record(record: Record) -> MeasuredRow:
    stamps, numbers = provenance(record), {}
    for name in record.parts.keys() & measurements().keys():
        values = {column.name: _value(record, column) for column in _columns(name)}
        numbers[name] = {column: value for column, value in values.items() if value is not None}
    versions = {name: str(part.version) for name, part in record.parts.items()}
    return MeasuredRow(
        label=without_seeds(label(record)),
        machine=machine_of(record),
        protocol=record.protocol.name,
        weights=weights(record),
        numbers=numbers,
        versions=versions | {ACCURACY: str(protocol_version(record))},
        stamps={name: stamp(stamps, name) for name in numbers},
        onnx_on=record.text("onnx_latency_ms.cpu") or "",
    )


def _columns(measurement: str) -> list[Column]:
    """The columns that hold a measured number."""
    columns = measurements()[measurement].columns
    return [column for column in columns if not column.published and column.decimals is not None]


def _value(record: Record, column: Column) -> float | None:
    found = (record.number(key) for key in column.keys)
    return next((value * column.scale for value in found if value is not None), None)


def _rows_of_table(path: Path) -> Iterable[MeasuredRow]:
    """The measured rows of a machine's table.

    Raises:
        UsageError: it is none, or is one of a time when tables did not say when each number was measured.
    """
    step = "compare the commit that wrote it: zoo diff git:COMMIT"
    try:
        document = json.loads(path.read_bytes())
        machine, rows = str(document["hardware"]), [row for row in document["rows"] if row["status"] != "missing"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"{path}: not a table that can be read", next_step=step) from None
    try:
        return [_of_line(row, machine) for row in rows]
    except (KeyError, TypeError):
        message = f"{path}: a table of an older layout, which does not say when and how each number was measured"
        raise UsageError(message, next_step=step) from None


def _of_line(row: Mapping[str, Any], machine: str) -> MeasuredRow:
    numbers: dict[str, dict[str, float]] = {}
    versions = {}
    for name, measurement in measurements().items():
        found = {column.name: _NUMBER.match(row[column.name]) for column in _columns(name)}
        numbers[name] = {column: float(match[0]) for column, match in found.items() if match}
        versions[name] = row["protocol_version" if measurement.version is None else f"{name}_version"]
    numbers = {name: values for name, values in numbers.items() if values}
    return MeasuredRow(
        label=without_seeds(row["entry"]),
        machine=machine,
        protocol=row["protocol"],
        weights=row["weights"],
        numbers=numbers,
        versions=versions,
        stamps={name: stamp(row, name) for name in numbers},
        onnx_on=row["onnx_on"],
    )


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None where it refuses.

    Raises:
        UsageError: there is no git or no such folder, or it is in no checkout.
    """
    step = "compare table versions or record files instead"
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", next_step=step)
    command = ["git", "-C", str(folder)]
    try:
        done = subprocess.run([*command, *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        raise UsageError("git is not installed", next_step=step) from None
    if done.returncode == 0:
        return done.stdout.decode("utf-8", errors="replace")
    checkout = subprocess.run([*command, "rev-parse"], capture_output=True, check=False)
    if checkout.returncode != 0:  # there is none, or it belongs to somebody else
        said = checkout.stderr.decode("utf-8", errors="replace").partition("\n")[0].removeprefix("fatal: ")
        raise UsageError(f"{folder}: in no git checkout that git will read ({said})", next_step=step)
    return None
