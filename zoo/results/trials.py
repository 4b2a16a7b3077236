"""Trials: runs of a row with one named switch changed, read from the ledger; and how detections are scored again.

A trial is a record like any other. What makes it one is that nothing but one listed switch tells it from the record
that it is a trial of: the same row, data, weights, machine and condition.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.catalog.switches import RESCORE, Switch, key_of, read_switches, value_of
from zoo.results.attribution import Trial
from zoo.results.evidence import row_key
from zoo.results.identity import Identity, changed_keys, digest, within
from zoo.results.record import Part, Record, Times
from zoo.runtime.provenance import code_state, now
from zoo.schema import build

if TYPE_CHECKING:
    from zoo.measure.score.rescore import Rescoring, StoredRun

ACCURACY = "accuracy"
"""The measurement that a trial is made for."""


def trials_of(record: Record, records: Iterable[Record], switches: Sequence[Switch]) -> tuple[Trial, ...]:
    """The trials of a record that are there, in the order of the switches, of each the newest.

    Args:
        record: a run of a row.
        records: everything that may hold a trial of it.
        switches: those of its zoo.
    """
    found: dict[str, Record] = {}
    known = {switch.name: set(switch.applied(record.protocol.config)) for switch in switches}
    for other in records:
        if not _alike(record, other):
            continue
        for switch in switches:
            newer = switch.name not in found or _finished(found[switch.name]) < _finished(other)
            if newer and _is_trial(record, other, known[switch.name]):
                found[switch.name] = other
    return tuple(
        Trial(switch=switch.name, source=switch.source, values=accuracy_of(found[switch.name]))
        for switch in switches
        if switch.name in found
    )


def trials_of_rows(records: Sequence[Record]) -> dict[str, tuple[Trial, ...]]:
    """The trials of every run of a row that are among some records, by `row_key`.

    Raises:
        UsageError: a zoo's list of switches is faulty.
    """
    changed: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.identity.changes or record.identity.conditions:
            changed[record.entry].append(record)
    found = {}
    for record in records:
        if changed[record.entry] and not record.identity.changes and not record.trained:
            found[row_key(record)] = trials_of(record, changed[record.entry], read_switches(record.zoo))
    return {key: trials for key, trials in found.items() if trials}


def trials_among(records: Sequence[Record]) -> list[Record]:
    """Those of some records that were made to explain another one: nothing but one listed switch tells them from it.

    A run that is filed under its row, that somebody gave a name, or that measured more than accuracy, is there for its
    own sake, and none of them.

    Raises:
        UsageError: a zoo's list of switches is faulty.
    """
    suspects: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.name is None and not record.belongs_to_the_row and set(record.parts) == {ACCURACY}:
            suspects[record.entry].append(record)
    found: dict[int, Record] = {}
    for record in records:
        if not suspects[record.entry] or record.identity.changes or record.trained:
            continue
        overrides = [set(switch.applied(record.protocol.config)) for switch in read_switches(record.zoo)]
        for other in suspects[record.entry]:
            if _alike(record, other) and any(_is_trial(record, other, changed) for changed in overrides):
                found[id(other)] = other
    return list(found.values())


def accuracy_of(record: Record) -> dict[str, float]:
    """The numbers of a record's accuracy, by their names."""
    part = record.parts.get(ACCURACY)
    values = {} if part is None else {key: record.number(key) for key in part.values}
    return {key: value for key, value in values.items() if value is not None}


def rules_of(switch: Switch, run: StoredRun) -> Rescoring:
    """What a switch of tier 1 makes of the rules that a run was scored by; equal ones where it changes nothing.

    Raises:
        UsageError: it sets a rule that does not exist.
    """
    from zoo.measure.score.rescore import Rescoring

    own = dataclasses.asdict(run.own_rules())
    return build(Rescoring, {**own, **_changes(switch.overrides)}, RESCORE, f"correct the switch {switch.name!r}")


def rescored(record: Record, switch: Switch, run: StoredRun) -> Record:
    """The trial of a switch of tier 1: stored detections scored by another rule, as a record.

    Args:
        record: the run that left the detections.
        switch: what is changed.
        run: the detections.

    Raises:
        UsageError: the switch sets a rule that does not exist.
        DataError: it names other annotations, which are missing or of other images.
    """
    started, overrides = now(), switch.applied(record.protocol.config)
    changes = _changes(overrides)
    numbers, code = run.score(rules_of(switch, run)), code_state()
    part = Part(
        version=record.parts[ACCURACY].version,
        finished=now(),
        seconds=0.0,
        code=code,
        values=list(numbers),
        images=record.parts[ACCURACY].images,
    )
    return dataclasses.replace(
        record,
        name=None,
        identity=_rescored_identity(record.identity, overrides, changes),
        overrides=[*record.overrides, *overrides],
        protocol=dataclasses.replace(record.protocol, config={**record.protocol.config, RESCORE: changes}),
        measured=numbers,
        parts={ACCURACY: part},
        skipped={},
        code=code,
        times=Times(started=started, finished=part.finished),
        verdict={},
    )


def _changes(overrides: Sequence[str]) -> dict[str, Any]:
    """The rules that overrides set."""
    return {key_of(override).removeprefix(f"{RESCORE}."): value_of(override) for override in overrides}


def _rescored_identity(identity: Identity, overrides: Sequence[str], changes: Mapping[str, Any]) -> Identity:
    row = digest([identity.row, dict(changes)])
    return dataclasses.replace(identity, row=row, changes=(*identity.changes, *overrides))


def _alike(record: Record, other: Record) -> bool:
    """Whether two runs are of the same row, weights, data, machine and way to judge, whatever was changed."""
    if other.status != "measured" or other.trained or ACCURACY not in other.parts or ACCURACY not in record.parts:
        return False
    return _facts(record) == _facts(other)


def _facts(record: Record) -> tuple[object, ...]:
    return (
        record.entry,
        record.hardware_id,
        record.identity.condition.get("device"),
        record.parts[ACCURACY].version,
        record.checkpoint.sha256 if record.checkpoint else None,
        (record.data.annotations_sha256, record.data.images) if record.data else None,
    )


def _is_trial(record: Record, other: Record, overrides: set[str]) -> bool:
    """Whether nothing but some overrides tells a run from another one."""
    if not overrides or not overrides.issubset(other.overrides):
        return False
    keys = [key_of(override) for override in overrides]
    changed = changed_keys(other.protocol.config, record.protocol.config)
    differs = bool(changed) or RESCORE in other.protocol.config  # rules that are set to null leave no key
    return differs and all(any(within(key, group) for group in keys) for key in changed)


def _finished(record: Record) -> str:
    return record.parts[ACCURACY].finished
