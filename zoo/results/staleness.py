"""What of a record still stands: each measurement against what a run of today would measure, and why it would not.

What is done is known by content: the composition and the condition, the bytes of checkpoint, annotations and images,
the version of the measurement, the code that it imports, and the libraries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from zoo.fetch.hashes import Digest, ExpectedFile
from zoo.measure.measurement import measurement
from zoo.results.identity import Identity, changed_keys
from zoo.results.origin import code_files, code_of
from zoo.results.record import Part, Record
from zoo.runtime.provenance import changed_files

MISSING = "not measured yet"

_SHOWN = 3
"""Files and settings that a reason names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """What a run of today would measure. None stands for "not known here", and is not compared.

    Attributes:
        identity: composition and condition.
        config: composed configuration.
        weights: what is known of the file that the run is of, or begins with.
        annotations: sha256 of the annotation file.
        images: sha256 over annotations and images.
        training_annotations: sha256 of the annotations that are trained on.
        environment: library -> version; None where the record is another machine's.
    """

    identity: Identity
    config: Mapping[str, Any]
    weights: ExpectedFile | None
    annotations: str | None
    images: str | None
    training_annotations: str | None = None
    environment: Mapping[str, str] | None


def stale(record: Record, present: Present, names: Iterable[str]) -> dict[str, str]:
    """The measurements of a record that do not stand any more, each with the reasons as one line.

    A training that is stale in one measurement is so in all: its weights are not kept.

    Args:
        record: what was measured.
        present: what would be.
        names: measurements to look at; those that the record lacks are not named.
    """
    subject = list(_other_subject(record, present))
    found = {}
    for name in names:
        part = record.parts.get(name)
        reasons = subject if subject or part is None else list(_other_part(name, part, present))
        if part is not None and reasons:
            found[name] = ", ".join(reasons)
    if record.trained and found:
        reason = next(iter(found.values()))
        return {name: found.get(name, reason) for name in names if name in record.parts}
    return found


def unfinished(record: Record | None, present: Present, names: Iterable[str]) -> dict[str, str]:
    """The measurements that a run still has to make, each with the reason; see `stale`.

    Args:
        record: what was measured; None where nothing was.
        present: what would be.
        names: measurements that are asked for, in order.
    """
    names = list(names)
    if record is None:
        return dict.fromkeys(names, MISSING)
    aged = stale(record, present, names)
    lacking = [name for name in names if name not in record.parts]
    if record.trained and lacking:
        aged = dict.fromkeys(names, MISSING) | aged
    return {name: aged.get(name, MISSING) for name in names if name in aged or name in lacking}


def summed_up(reasons: Mapping[str, str], everything: Iterable[str] = ()) -> str:
    """Measurements with their reasons as one line; a reason that all of `everything` have is said without them."""
    alike: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        alike.setdefault(reason, []).append(name)
    if len(alike) == 1 and set(everything) == set(reasons):
        return next(iter(alike))
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in alike.items())


def _other_subject(record: Record, present: Present) -> Iterator[str]:
    """What tells the row, its weights and its data from those of the record."""
    if _row(record.identity) != _row(present.identity):
        keys = changed_keys(record.protocol.config, present.config)
        if keys == ("protocol.version",):
            yield f"protocol version {record.protocol.version} -> {present.config['protocol']['version']}"
        else:
            yield f"composition ({_some(keys)})" if keys else "composition"
    known = _weights(record)
    if present.weights is not None and known is not None and present.weights.mismatch(known) is not None:
        yield "checkpoint"
    if record.data is not None:
        if present.annotations not in (None, record.data.annotations_sha256):
            yield "annotations"
        elif None not in (present.images, record.data.files_sha256) and present.images != record.data.files_sha256:
            yield "images"
    trained_on = (record.protocol.training or {}).get("annotations_sha256")
    if record.trained and present.training_annotations not in (None, trained_on):
        yield "training annotations"


def _row(identity: Identity) -> tuple[int, str | None]:
    return identity.scheme, identity.row


def _weights(record: Record) -> Digest | None:
    """The file that a run was of, or began with; None where that was none."""
    if not record.trained:
        return None if record.checkpoint is None else _digest(record.checkpoint.sha256, record.checkpoint.size)
    begun = (record.protocol.training or {}).get("init_from")
    if not isinstance(begun, Mapping) or "sha256" not in begun:
        return None
    return _digest(begun["sha256"], begun.get("size"))


def _digest(sha256: Any, size: Any) -> Digest:
    return Digest(size=size if isinstance(size, int) else 0, sha256=str(sha256))


def _other_part(name: str, part: Part, present: Present) -> Iterator[str]:
    """What tells a measurement and its code from those of today."""
    version = measurement(name).version or present.config["protocol"]["version"]
    if part.version != version:
        yield f"{name} version {part.version} -> {version}"
    if part.code_hash is None:
        yield "code unknown"
    elif part.code_hash != code_of(name, present.config):
        files = changed_files(part.code, code_files(name, present.config).values())
        yield f"code of {name}" + (f" ({_some(files)})" if files else "")
    if present.environment is not None and part.environment:
        for library, now in present.environment.items():
            then = part.environment.get(library)
            if then != now:
                yield f"{library} {then or 'unknown'} -> {now}"


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = len(names) - _SHOWN
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:_SHOWN])} and {more} more"
