"""One JSON per entry, hardware and run: everything a number needs to be believed or doubted.

Records are the source; tables and diffs are derived from them. A run that was blocked or that
failed leaves a record too. `Ledger` is the folder of the newest record of every entry and machine.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from zoo.errors import UsageError
from zoo.files import PROJECT, result_errors, write_atomically

SCHEMA_VERSION = 1

Status = Literal["measured", "blocked", "failed"]


@dataclass(slots=True, kw_only=True)
class Record:
    """What one run of one entry was, did and measured.

    Attributes:
        entry: the entry's name.
        zoo: the published collection.
        status: "measured", "blocked" (something outside could not be had) or "failed".
        reason: why it could not be measured; None when measured.
        next_step: what to do about that.
        based_on: the entry a changed composition started from; such a run carries its own `entry`
            name and is never compared.
        changes: the overrides that changed it.
        checkpoint: url, path, sha256, size, hash_evidence ("full", "published prefix",
            "first use", "none", "other weights"), load_report (loaded, dropped).
        data: name, split, images, annotations_sha256, files_sha256 (None where not every file was hashed), partial.
        protocol: name, version, config (resolved), config_sha256.
        measured: box_AP ... (AP points, 0 to 100), fps, latency_ms, onnx_latency_ms, phases_ms, memory,
            train_memory_gb, params, macs, flops_published_counting.
        hardware: the fingerprint of the machine (`zoo.runtime.hardware`).
        code: version, commit, dirty.
        times: started and finished (UTC, ISO 8601), seconds by stage.
        seed: of every random generator.
        verdict: published cell -> {verdict, published, measured, delta, reason}.
    """

    entry: str
    zoo: str
    status: Status = "failed"
    reason: str | None = None
    next_step: str | None = None
    based_on: str | None = None
    changes: list[str] = field(default_factory=list)
    checkpoint: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)
    code: dict[str, Any] = field(default_factory=dict)
    times: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    verdict: dict[str, dict[str, Any]] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """The record as JSON text: sorted by schema, human-readable, with every digit of a float."""
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, where: str) -> Record:
        """A record from its JSON.

        Raises:
            UsageError: not JSON, not a record, or of another schema version; names `where`.
        """
        next_step = "delete the file and run its entry again"
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise UsageError(f"{where}: not valid JSON ({error})", next_step=next_step) from None
        if not isinstance(values, Mapping) or "entry" not in values:
            raise UsageError(f"{where}: not a zoo record", next_step=next_step)
        version = values.get("schema_version")
        if version != SCHEMA_VERSION:
            message = f"{where}: a record of schema version {version}, this zoo reads version {SCHEMA_VERSION}"
            raise UsageError(message, next_step=next_step)
        if "zoo" not in values:
            raise UsageError(f"{where}: missing zoo", next_step=next_step)
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise UsageError(f"{where}: unknown keys {', '.join(unknown)}", next_step=next_step)
        return cls(**values)

    @classmethod
    def read(cls, path: Path) -> Record:
        """The record in a file. Raises UsageError where it is none."""
        return cls.from_json(path.read_text(encoding="utf-8", errors="replace"), where=str(path))

    def write(self, path: Path) -> None:
        """Write the record atomically: a reader sees the old file or the new one, never a part."""
        with result_errors(path):
            write_atomically(path, self.to_json())

    @property
    def compared(self) -> bool:
        """Whether this run may stand beside the published numbers as the entry itself."""
        return (
            self.status == "measured"
            and self.based_on is None
            and not self.data.get("partial", True)
            and self.checkpoint.get("hash_evidence") != "other weights"
        )

    @property
    def rank(self) -> int:
        """How much a record says: blocked or failed 0, partial or other weights 1, comparable 2."""
        return 2 if self.compared else int(self.status == "measured")


def results_dir() -> Path:
    """The folder of records and tables: the checkout's, or ./results for an installed package."""
    checkout = PROJECT / "results"
    return checkout if checkout.is_dir() else Path("results")


class Ledger:
    """The records of a results folder: `records/<hardware>/<entry>.json`.

    Args:
        results_dir: the folder that holds `records/`.
    """

    def __init__(self, results_dir: Path) -> None:
        self.root = results_dir / "records"

    def path(self, record: Record) -> Path:
        """Where a record belongs."""
        hardware: str = record.hardware.get("id", "unknown")
        return self.root / hardware / f"{record.entry}.json"

    def add(self, record: Record) -> Record | None:
        """File a record, unless the one already there says more.

        A blocked or partial run must not erase the measured row it could not repeat.

        Returns:
            The record that was kept in its place, or None where the new one was filed.
        """
        path = self.path(record)
        kept = _readable(path)
        if kept is not None and kept.rank > record.rank:
            return kept
        record.write(path)
        return None

    def records(self) -> Iterator[Record]:
        """All records, sorted by hardware, then entry."""
        return (Record.read(path) for path in sorted(self.root.glob("*/*.json")))


def _readable(path: Path) -> Record | None:
    """The record in a file; None where there is none, or one that says nothing (damaged, of an old schema)."""
    try:
        return Record.read(path) if path.is_file() else None
    except UsageError:
        return None
