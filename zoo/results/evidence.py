"""What other records say of one: the noise of its machine, runs with a switch changed, the usual ratio of its zoo."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from zoo.catalog.entry import Entry, PublishedCell
from zoo.results.attribution import Trial
from zoo.results.ladder import NOISE, NOISE_CAP
from zoo.results.published import (
    hardware_bound,
    measured_on,
    measured_value,
    measured_version,
    published_cells,
    unlike_apart_from_data,
)
from zoo.results.record import Record

FEWEST_ROWS = 5
"""Rows of a zoo on one machine from which their median ratio is a reference."""

_ARCHITECTURE = ("detector", "backbone", "neck", "head", "protocol")


class RatioKey(NamedTuple):
    """The rows whose ratios of measured to published are held beside each other.

    Attributes:
        machine: what ours were measured on.
        zoo: published collection.
        metric: published metric.
        hardware: what theirs were measured on.
        version: version of the measurement that ours are of: other versions measure something else.
    """

    machine: str
    zoo: str
    metric: str
    hardware: str | None
    version: int | None

    @classmethod
    def of(cls, record: Record, metric: str, cell: PublishedCell) -> RatioKey:
        """Where the ratio of a record's number to a published one belongs."""
        place = measured_on(record, metric)
        return cls(place, record.zoo, metric, cell.hardware, measured_version(record, metric))


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a verdict may rest on besides its own record.

    Attributes:
        noise: `architecture_key` -> metric -> measured noise floor.
        trials: `row_key` -> runs of that row with one switch changed.
        further_rows: `row_key` -> switch -> other rows of the zoo that it accounts for with the same sign.
        ratios: the ratios, measured by published, of a zoo's rows.
    """

    noise: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    trials: Mapping[str, Sequence[Trial]] = field(default_factory=dict)
    further_rows: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    ratios: Mapping[RatioKey, Sequence[float]] = field(default_factory=dict)

    def noise_of(self, record: Record, entry: Entry, metric: str) -> float:
        """The noise floor of a metric: measured on the same machine and architecture, or the usual one."""
        measured = self.noise.get(architecture_key(record, entry), {}).get(metric)
        return NOISE if measured is None else min(measured, NOISE_CAP)

    def usual_ratio(self, record: Record, metric: str, cell: PublishedCell) -> tuple[float, int] | None:
        """The median ratio of the zoo's rows, and how many there are; None where there are too few."""
        found = self.ratios.get(RatioKey.of(record, metric, cell), ())
        return (statistics.median(found), len(found)) if len(found) >= FEWEST_ROWS else None


NOTHING = Evidence()
"""A record alone."""


def noise_floors(records: Iterable[Record], entries: Mapping[str, Entry]) -> dict[str, dict[str, float]]:
    """The noise floors that were measured, over a whole split: of several runs the widest."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for record in records:
        entry, floor = entries.get(record.entry), record.value("noise.floor")
        if entry is None or not isinstance(floor, Mapping) or record.data is None or record.data.partial:
            continue
        known = found[architecture_key(record, entry)]
        for metric, value in floor.items():
            known[metric] = max(known.get(metric, 0.0), float(value))
    return dict(found)


def zoo_ratios(records: Iterable[Record], entries: Mapping[str, Entry]) -> dict[RatioKey, list[float]]:
    """Measured by published speed and memory of every row under its own conditions, once a row."""
    found: dict[RatioKey, dict[str, float]] = defaultdict(dict)
    for record in records:
        entry = entries.get(record.entry)
        if entry is None or record.status != "measured" or record.identity.changes or unlike_apart_from_data(record):
            continue
        for metric, cells in published_cells(entry).items():
            ours = measured_value(record, metric) if hardware_bound(metric) else None
            for cell in cells if ours else ():
                ratios = found[RatioKey.of(record, metric, cell)]
                ratios.setdefault(record.entry, (ours or 0.0) / cell.value)
    return {key: list(ratios.values()) for key, ratios in found.items()}


def architecture_key(record: Record, entry: Entry) -> str:
    """Machine, parts of the network and protocol: what numerical noise depends on."""
    return json.dumps([record.hardware_id, *(entry.parts.get(part) for part in _ARCHITECTURE)])


def row_key(record: Record) -> str:
    """Row, machine, data, weights and condition: what a run with a switch changed shares with the run it explains."""
    identity, data, checkpoint = record.identity, record.data, record.checkpoint
    images = (data.annotations_sha256, data.images) if data else None
    weights = checkpoint.sha256 if checkpoint else None
    return json.dumps([record.entry, record.hardware_id, dict(identity.condition), images, weights], sort_keys=True)
