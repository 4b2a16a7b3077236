"""What may be compared at all: numbers of one version of a measurement, and of the machine those of one machine."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from zoo.errors import UsageError
from zoo.measure.measurement import metrics
from zoo.results.record import Record

ACCURACY = "accuracy"


def refuse_mixed_versions(records: Iterable[Record]) -> None:
    """Raise UsageError where one measurement occurs in two versions: they measure different things.

    Accuracy has a version in each protocol, every other measurement one of its own.
    """
    seen: dict[str, dict[int, str]] = {}
    for record in records:
        for name, part in record.parts.items():
            subject = f"{name} by protocol {record.protocol.name!r}" if name == ACCURACY else name
            seen.setdefault(subject, {}).setdefault(part.version, record.entry)
    for subject, versions in seen.items():
        if len(versions) > 1:
            raise mixed_versions(subject, (f"{version} ({entry})" for version, entry in sorted(versions.items())))


def mixed_versions(subject: str, found: Iterable[str]) -> UsageError:
    """The error for a measurement that occurs in several versions.

    Args:
        subject: the measurement.
        found: each version, and where it occurs.
    """
    versions = list(found)
    message = f"{subject} in {len(versions)} versions does not compare: {', '.join(versions)}"
    return UsageError(message, next_step="run the entries of the older version again: python -m zoo.bench")


@cache
def machine_bound() -> frozenset[str]:
    """The measurements whose numbers hold for the machine alone."""
    return frozenset({name for name, place in metrics().values() if place.hardware_bound} | {"memory", "noise"})
