"""What a number needs to be believed, doubted and repeated: the facts of a run, and the command that repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zoo.catalog.entry import entry_names, resolve
from zoo.results.cells import commit
from zoo.results.record import LoadReport, Record
from zoo.results.report.contents import Run
from zoo.schema import plain


def facts_of(run: Run) -> dict[str, str]:
    """Name -> what the record knows of it; without what it does not know."""
    record = run.record
    found: dict[str, list[Any]] = {
        "protocol": [" ".join(protocols_of([record]))],
        "condition": list(record.identity.conditions),
        "changes": list(record.identity.changes),
        "composition sha256": [record.identity.row],
        "code": [_labelled("commit", None if record.code.commit is None else commit(record.code))],
        "seed": _seeds(record),
        "started": [record.times.started],
        "duration": [None if record.times.seconds is None else f"{record.times.seconds:.1f} s"],
    }
    if checkpoint := record.checkpoint:
        found["checkpoint"] = [checkpoint.url or checkpoint.path, f"{checkpoint.size:,} bytes"]
        found["sha256"] = [checkpoint.sha256, _labelled("evidence:", checkpoint.hash_evidence)]
    if data := record.data:
        part = "part of the split" if data.partial else "the whole split"
        found["data"] = [data.name, data.split, _labelled("images:", data.images), part, data.difference]
        found["taken as"] = [data.equivalent, data.evidence]
        found["annotations sha256"] = [data.annotations_sha256]
    if hardware := record.hardware:
        versions = [f"{name} {value}" for name, value in plain(hardware.software).items() if value and name != "os"]
        driver = hardware.gpu.driver if hardware.gpu else None
        found["hardware"] = [run.machine, hardware.device, _labelled("driver", driver)]
        found["software"] = [*versions, hardware.software.os]
    texts = {name: ", ".join(str(item) for item in items if item not in (None, "")) for name, items in found.items()}
    return {name: text for name, text in texts.items() if text}


def protocols_of(records: Sequence[Record]) -> list[str]:
    """The protocols that some records were measured by, each with its version."""
    named = {(r.protocol.name, r.protocol.version) for r in records if r.protocol.name}
    return [f"{name} {version}" for name, version in sorted(named)]


def _seeds(record: Record) -> list[Any]:
    seeds = (record.protocol.training or {}).get("seeds") if record.trained else None
    return list(seeds) if isinstance(seeds, Sequence) else [record.seed]


def _labelled(label: str, value: object) -> str | None:
    return None if value is None else f"{label} {value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartLine:
    """Where one measurement of a record comes from, as text."""

    name: str
    version: str
    finished: str
    seconds: str
    images: str
    commit: str


def parts_of(record: Record) -> list[PartLine]:
    """The parts of a record, and what was asked for and could not be measured."""
    return [
        PartLine(
            name=name,
            version=str(part.version),
            finished=part.finished,
            seconds=f"{part.seconds:.1f}",
            images="" if part.images is None else str(part.images),
            commit=commit(part.code),
        )
        for name, part in record.parts.items()
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyGroup:
    """Keys of a checkpoint that share a fate.

    Attributes:
        fate: what became of them.
        reason: why.
        count: how many.
        keys: their names; empty where only their number is known.
    """

    fate: str
    reason: str
    count: int
    keys: tuple[str, ...] = field(default=())


def key_groups(report: LoadReport) -> list[KeyGroup]:
    """A load report as lines."""
    named = [("dropped", report.dropped), ("changed", report.changed), ("kept", report.kept)]
    groups = [
        KeyGroup(fate=fate, reason=reason, count=len(keys), keys=tuple(keys))
        for fate, found in named
        for reason, keys in found.items()
    ]
    fresh = [KeyGroup(fate="not in the file", reason=reason, count=count) for reason, count in report.fresh.items()]
    return [KeyGroup(fate="loaded", reason="", count=report.loaded), *groups, *fresh]


def command_of(record: Record) -> str:
    """The command that repeats a run; the zoo's name is left out where the rest means this entry."""
    overrides = shlex.join((*record.overrides, *_places(record)))
    # make reads a dollar sign before the shell does.
    arguments = f" ARGS={shlex.quote(overrides)}".replace("$", "$$") if overrides else ""
    return f"{command_for(record.entry, record.zoo)}{arguments}"


def command_for(name: str, zoo: str) -> str:
    """The command that measures a row of the catalogue."""
    short = name.removeprefix(f"{zoo}_")
    if name in entry_names() and resolve(short)[0] == name:
        name = short
    return f"make reproduce MODEL={shlex.quote(name)}"


def _places(record: Record) -> list[str]:
    """Where weights and data lie that no address leads to: file or folder by their name, for the reader to complete.

    Their hashes are among the facts of the run.
    """
    found = []
    for block, key in (("checkpoint", "path"), ("checkpoint", "url"), ("data", "root")):
        asked = record.protocol.config.get(block)
        value = asked.get(key) if isinstance(asked, Mapping) else None
        known = block == "data" and record.data is not None and record.data.known  # is fetched where it is not there
        if value is not None and not known:
            found.append(f"{block}.{key}={value}")
    return found
