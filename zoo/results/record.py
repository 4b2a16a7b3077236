"""One JSON per entry, machine and condition: everything a number needs to be believed or doubted.

Records are the source; tables and diffs are derived from them. A run that was blocked or that failed
leaves a record too. The classes below are the schema: `docs/record.schema.json` is made of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from zoo import schema
from zoo.errors import UsageError
from zoo.files import read_text, result_errors, write_atomically
from zoo.results.identity import Identity
from zoo.results.migrate import NEXT_STEP, migrated
from zoo.runtime.hardware import Hardware
from zoo.runtime.provenance import Code
from zoo.schema import Pattern
from zoo.types import Json

if TYPE_CHECKING:
    from zoo.data.splits import Split

SCHEMA_VERSION = 2
"""Goes up with every change of the layout below; `zoo.results.migrate` reads the older ones."""

Status = Literal["measured", "blocked", "failed"]


@dataclass(slots=True, kw_only=True)
class LoadReport:
    """How the keys of a checkpoint were accounted for.

    Attributes:
        loaded: number of tensors that went into the model.
        dropped: reason -> keys that no parameter takes.
        changed: operation -> keys whose values were changed by it.
        kept: reason -> keys of the model that kept their first values.
        fresh: reason -> how many keys of the model the file lacks, and need not have.
    """

    loaded: int
    dropped: dict[str, list[str]] = field(default_factory=dict)
    changed: dict[str, list[str]] = field(default_factory=dict)
    kept: dict[str, list[str]] = field(default_factory=dict)
    fresh: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class CheckpointRecord:
    """The weights that were measured.

    Attributes:
        sha256: hash of the file, lower-case hex.
        size: bytes.
        hash_evidence: "full", "published prefix", "first use", "none" or "other weights": why the file is believed
            to be the published one, or is known not to be.
        url: mirror it came from; None for a file of the user's own.
        path: where it lies, without naming a folder of the machine.
        load_report: what became of its keys; None before it was loaded.
    """

    sha256: str
    size: int
    hash_evidence: Literal["full", "published prefix", "first use", "none", "other weights"]
    url: str | None = None
    path: str | None = None
    load_report: LoadReport | None = None


@dataclass(slots=True, kw_only=True)
class DataRecord:
    """The images that were evaluated on.

    Attributes:
        name: data set.
        split: split of it.
        images: number of images.
        annotations_sha256: hash of the annotation file.
        files_sha256: hash over annotations and images; None where the images were not hashed.
        partial: whether these are a part of the split.
        known: whether the annotations are known to be the split's own.
        difference: what tells them from the split's own, in words; None where they are known.
        equivalent: the published split whose files these are, where the row's own split is taken as another one.
        evidence: why the two are believed to have the same images, in words.
    """

    name: str
    split: str
    images: int
    annotations_sha256: str
    files_sha256: str | None = None
    partial: bool
    known: bool = True
    difference: str | None = None
    equivalent: str | None = None
    evidence: str | None = None

    @classmethod
    def of(cls, split: Split) -> DataRecord:
        """The record of a split that was opened."""
        return cls(
            name=split.data,
            split=split.name,
            images=len(split.ground_truth),
            annotations_sha256=split.ground_truth.sha256,
            files_sha256=split.files_sha256,
            partial=split.partial,
            known=split.known,
            difference=split.difference,
            equivalent=split.equivalent,
            evidence=split.evidence,
        )


@dataclass(slots=True, kw_only=True)
class ProtocolRecord:
    """How the numbers were measured.

    Attributes:
        name: protocol.
        version: version of what its accuracy means; every other part of a record has a version of its own.
        config: the resolved configuration of the run.
        batches: how many batches the images were put into, and how many images have each batch shape.
        training: how the model was trained, where the run trained it; `other_data` says in words what tells the
            annotations from those of the recipe, where something does, `equivalent` as which split those were taken.
    """

    name: str
    version: int
    config: dict[str, Json] = field(default_factory=dict)
    batches: dict[str, Json] | None = None
    training: dict[str, Json] | None = None


@dataclass(slots=True, kw_only=True)
class Part:
    """Where one measurement of a record comes from: a record may be put together from several runs.

    Attributes:
        version: version of what the measurement means; numbers of two versions are never mixed.
        finished: when it was done (UTC, ISO 8601).
        seconds: duration.
        code: code that measured it.
        values: the keys of `measured` that it gave.
        images: number of images, where more of them make the same number better.
        code_hash: sha256 over the syntax trees of that code, lower-case hex; None where it was not noted.
        environment: library -> its version, of those that numbers depend on; empty where it was not noted.
    """

    version: int
    finished: str
    seconds: float
    code: Code
    values: list[str]
    images: int | None = None
    code_hash: str | None = None
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Times:
    """When a run took place.

    Attributes:
        started: UTC, ISO 8601.
        finished: likewise; None while it goes on.
        seconds: duration of the run.
        stages: seconds of each stage.
    """

    started: str
    finished: str | None = None
    seconds: float | None = None
    stages: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement on one published number. A record holds that of its run; readers judge anew.

    Attributes:
        verdict: word of the ladder (`zoo.results.verdict`).
        published: number as printed; "41.2 / 41.5" where documents disagree.
        measured: number of the run, in the same unit; None where there is none.
        delta: measured minus published; None where the two are not compared.
        reason: what explains the verdict, where the numbers alone do not.
    """

    verdict: str
    published: str
    measured: float | None = None
    delta: float | None = None
    reason: str | None = None


FILE_NAME = Pattern(r"[A-Za-z0-9][A-Za-z0-9._+-]*", "a name fit for a file")
"""Records are filed by such names."""


@dataclass(slots=True, kw_only=True)
class Record:
    """What one run of one entry was, did and measured.

    Attributes:
        entry: name of the row that was run.
        zoo: published collection it belongs to.
        name: what the user called the run; None where it is called by what differs from the row.
        status: "measured", "blocked" (something outside could not be had) or "failed".
        reason: why it could not be measured; None when measured.
        next_step: what to do about that.
        identity: what differs from the row, and under which condition it was measured.
        overrides: what the command line said, without what only says how the run is carried out.
        checkpoint: weights; None where a run did not get so far.
        data: images; None likewise.
        protocol: how the numbers were measured.
        measured: every number: box_AP, mask_AP, keypoint_AP ... (AP points, 0 to 100), fps, latency_ms, memory, params
            and so on.
        parts: measurement -> where its numbers come from.
        skipped: measurement that was asked for -> why it was not made.
        hardware: fingerprint of the machine; None where a run did not get so far.
        code: code of the run that wrote the record last.
        times: when that run took place.
        seed: seed of every random generator.
        verdict: published metric -> judgement.
        schema_version: version of this layout.
    """

    entry: Annotated[str, FILE_NAME]
    zoo: str
    name: Annotated[str, FILE_NAME] | None = None
    status: Status = "failed"
    reason: str | None = None
    next_step: str | None = None
    identity: Identity = field(default_factory=Identity)
    overrides: list[str] = field(default_factory=list)
    checkpoint: CheckpointRecord | None = None
    data: DataRecord | None = None
    protocol: ProtocolRecord
    measured: dict[str, Json] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    hardware: Hardware | None = None
    code: Code
    times: Times
    seed: int = 0
    verdict: dict[str, Verdict] = field(default_factory=dict)
    schema_version: Literal[2] = 2

    def to_json(self) -> str:
        """The record as JSON text: human-readable, with every digit of a float."""
        return json.dumps(schema.plain(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, where: str) -> Record:
        """A record from its JSON, of this schema version or an older one.

        Raises:
            UsageError: not JSON, not a record, or of a newer schema version; names `where`.
        """
        try:
            values = schema.parse_json(text)
        except ValueError as error:
            raise UsageError(f"{where}: not valid JSON ({error})", next_step=NEXT_STEP) from None
        if not isinstance(values, Mapping) or "entry" not in values:
            raise UsageError(f"{where}: not a zoo record", next_step=NEXT_STEP)
        version = values.get("schema_version")
        if version not in (1, SCHEMA_VERSION):
            message = f"{where}: a record of schema version {version}, this zoo reads up to version {SCHEMA_VERSION}"
            raise UsageError(message, next_step="install a newer zoo, or delete the file and run its entry again")
        try:
            values = migrated(values) if version == 1 else values
            record = schema.build(cls, values, "", NEXT_STEP)
        except UsageError as error:
            raise UsageError(f"{where}: {error.message}", next_step=NEXT_STEP) from None
        if record.status == "measured" and record.hardware is None:
            raise UsageError(f"{where}: measured, and on no machine (hardware: null)", next_step=NEXT_STEP)
        return record

    @classmethod
    def read(cls, path: Path) -> Record:
        """The record in a file. Raises UsageError where it is none, or where it cannot be read."""
        try:
            text = read_text(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"{path}: not a record that can be read ({reason})", next_step=NEXT_STEP) from None
        return cls.from_json(text, where=str(path))

    def write(self, path: Path) -> None:
        """Write the record atomically: a reader sees the old file or the new one, never a part."""
        with result_errors(path):
            write_atomically(path, self.to_json())

    def value(self, key: str) -> Json:
        """What was measured, by its dotted name, such as `latency_ms.p50`; None where there is nothing."""
        value: Json = self.measured
        for name in key.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    def text(self, key: str) -> str | None:
        """A measured text by its dotted name; None where there is none."""
        value = self.value(key)
        return value if isinstance(value, str) else None

    def number(self, key: str) -> float | None:
        """A measured number by its dotted name; None where there is none."""
        value = self.value(key)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    @property
    def label(self) -> str:
        """How the run is called: its name, or the entry with what differs from the row."""
        differences = ", ".join(self.identity.differences)
        return self.name or (f"{self.entry} ({differences})" if differences else self.entry)

    @property
    def trained(self) -> bool:
        """Whether the weights were trained by the run."""
        return self.identity.condition.get("run.name") == "train"

    @property
    def other_weights(self) -> bool:
        """Whether the weights are not the row's: another file than the published, or a training begun with one."""
        asked = self.protocol.config.get("checkpoint")
        begun_otherwise = isinstance(asked, Mapping) and any(asked.get(key) for key in ("path", "url"))
        evidence = self.checkpoint.hash_evidence if self.checkpoint else None
        return (self.trained and begun_otherwise) or evidence == "other weights"

    @property
    def other_training_data(self) -> str | None:
        """What tells the data of a training from that of the row's recipe, in words; None where nothing does."""
        found = (self.protocol.training or {}).get("other_data")
        return found if isinstance(found, str) else None

    @property
    def belongs_to_the_row(self) -> bool:
        """Whether the run is filed under its row: it says something of the row, and nobody gave it another name."""
        return self.name is None and self.measures_the_row

    @property
    def is_the_row_itself(self) -> bool:
        """Whether the run belongs to the row and is of its published weights, under its own conditions."""
        return self.belongs_to_the_row and not self.trained and not self.identity.conditions

    @property
    def measures_the_row(self) -> bool:
        """Whether the run measured a whole split of known data, with the row's weights or by the row's recipe."""
        return (
            self.status == "measured"
            and not self.identity.changes
            and not self.identity.trials
            and not self.other_weights
            and self.other_training_data is None
            and self.data is not None
            and self.data.known
            and not self.data.partial
        )

    @property
    def hardware_id(self) -> str | None:
        """The machine, as it names its folder; None where a run ended before it was looked at."""
        return self.hardware.id if self.hardware else None
