"""What a run has still to do: what was measured of the same thing before is known by content.

Weights and data are hashed here; nothing is measured, and no detector is built.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from zoo.checkpoints.fetch_checkpoint import checkpoint_info, expected_checkpoint, fetch_checkpoint
from zoo.config.build import open_data
from zoo.config.compose import compose
from zoo.config.run_settings import RunSettings
from zoo.config.settings import DataSettings
from zoo.data.dataset import known_files
from zoo.data.splits import source_split
from zoo.errors import ZooError
from zoo.fetch.hashes import ExpectedFile, hash_file
from zoo.results.ledger import Ledger, readable
from zoo.results.origin import environment
from zoo.results.record import CheckpointRecord, DataRecord, Record
from zoo.results.staleness import MISSING, Present, stale, unfinished
from zoo.runtime.hardware import Hardware, is_here


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """What a run has still to do.

    Attributes:
        reasons: measurement -> why it has to be made; empty where everything is done.
        standing: measurements that were asked for, and need not be made.
        path: where the record of the same thing is filed; None where there is none.
        record: what it holds.
    """

    reasons: Mapping[str, str] = field(default_factory=dict)
    standing: tuple[str, ...] = ()
    path: Path | None = None
    record: Record | None = None


def remaining(settings: RunSettings, hardware: Hardware) -> Remaining:
    """What a run has still to do, by the record of an earlier one on the same machine. Imports no torch.

    Where weights or data are not what they should be nothing counts as done: the run itself says why.

    Args:
        settings: the run.
        hardware: what it would run on.
    """
    try:
        record, weights = _prospect(settings, hardware)
    except ZooError:
        return Remaining(reasons=dict.fromkeys(settings.measure, MISSING))
    path = Ledger(settings.results_dir).path(record)
    there = readable(path)
    assert record.data is not None  # noqa: S101 - a prospect has everything
    present = Present(
        identity=record.identity,
        config=settings.config,
        weights=weights,
        annotations=record.data.annotations_sha256,
        images=record.data.files_sha256,
        training_annotations=None if settings.train is None else _training_annotations(settings.asked.data),
        environment=environment(),
    )
    reasons = unfinished(there, present, settings.measure)
    if there is None:
        return Remaining(reasons=reasons)
    standing = tuple(name for name in settings.measure if name in there.parts and name not in reasons)
    return Remaining(reasons=reasons, standing=standing, path=path, record=there)


def stale_row(record: Record, results_dir: Path) -> dict[str, str]:
    """The measurements of a row's own record that do not stand any more, each with the reasons; opens no data.

    Args:
        record: of the row itself; see `Record.is_the_row_itself`.
        results_dir: whose pins count besides the project's own.

    Raises:
        UsageError, CheckpointError: the row, or a lock file, is faulty.
    """
    config = compose(record.entry)
    settings = RunSettings.from_config(config, overrides=(), run_dir=Path(), default_results=results_dir, own=config)
    data = settings.asked.data
    present = Present(
        identity=settings.identity,
        config=settings.config,
        weights=_expected(settings),
        annotations=data.annotations_sha256.get(source_split(data.name, data.split)),
        images=known_files(data.name, data.split),
        environment=environment() if record.hardware is not None and is_here(record.hardware) else None,
    )
    return stale(record, present, record.parts)


def _prospect(settings: RunSettings, hardware: Hardware) -> tuple[Record, ExpectedFile | None]:
    """The record that a run would leave, without its numbers, and what is known of its weights.

    Raises:
        ZooError: it could not be measured.
    """
    record = settings.new_record()
    record.status, record.hardware = "measured", hardware
    record.identity = record.identity.on(hardware.kind)
    weights = _expected(settings)
    own = settings.asked.checkpoint
    if own.path is not None or own.url is not None:
        stored = fetch_checkpoint(settings.entry.checkpoint, settings.results_dir, path=own.path, url=own.url)
        record.checkpoint = CheckpointRecord(**checkpoint_info(stored))
        weights = ExpectedFile(sha256=stored.sha256)
    elif weights is not None:
        record.checkpoint = CheckpointRecord(sha256=weights.sha256 or "", size=0, hash_evidence="full")
    record.data = _data(settings.asked.data, settings.classes)
    return record, weights


def _expected(settings: RunSettings) -> ExpectedFile | None:
    """What is known of the published file that a run is of, or begins with; None where it begins with none."""
    checkpoint = settings.entry.checkpoint
    if settings.train is not None and not settings.begins_with(checkpoint):
        initial = settings.train.recipe.initial
        return None if initial is None else expected_checkpoint(initial, settings.results_dir)
    return expected_checkpoint(checkpoint, settings.results_dir)


def _data(data: DataSettings, classes: tuple[str, ...]) -> DataRecord:
    """The images of a run, at which a sweep looks once, until files change. Raises ZooError where they are lacking."""
    root = data.root or Path()
    changed = [_changed(root / name) for name in (data.annotations, data.images)]
    key = json.dumps([asdict(data), changed, classes], default=str)
    if key not in _OPENED:
        _OPENED[key] = DataRecord.of(open_data(data, classes))
    return replace(_OPENED[key])


_OPENED: dict[str, DataRecord] = {}


def _changed(path: Path) -> tuple[int, int] | None:
    return (path.stat().st_mtime_ns, path.stat().st_size) if path.exists() else None


def _training_annotations(data: DataSettings) -> str | None:
    """The sha256 of the annotations that are trained on; None where they are not known."""
    if data.train is None:
        return None
    path = (data.root or Path()) / data.train.annotations
    if data.root is not None:
        return hash_file(path).sha256 if path.is_file() else None
    return data.annotations_sha256.get(source_split(data.name, data.train.split))
