"""How a run ends: whatever happens between its beginning and its end becomes the status of its record."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.errors import BlockedError, DeviceError, ZooError
from zoo.measure.measurement import Measurement, Subject
from zoo.results.origin import code_of, environment
from zoo.results.record import Part, Record
from zoo.runtime.device_use import alone
from zoo.runtime.provenance import now
from zoo.runtime.turns import clock, turns
from zoo.types import Json

log = logging.getLogger(__name__)


@contextmanager
def outcome(record: Record, run_dir: Path) -> Iterator[None]:
    """Run the block; afterwards the record says how it ended, and how long it took.

    Errors end here: a `ZooError` with its own status, anything else as failed, with its traceback in the
    folder of the run.

    Raises:
        KeyboardInterrupt: after the record says so.
    """
    started = clock()
    try:
        yield
        record.status = "measured"
    except ZooError as error:
        record.status, record.reason, record.next_step = error.status, error.message, error.next_step
    except KeyboardInterrupt:
        record.reason, record.next_step = "interrupted", "run the same command again"
        raise
    except Exception as error:  # whatever else: a record with the reason, and the traceback in a file of its own
        if _out_of_memory(error):
            said = str(error).split(". ")[0]
            record.reason = said if _OUT_OF_MEMORY in said else f"{_OUT_OF_MEMORY}: {said}"
            record.next_step = "use a smaller batch_size, or device=cpu"
        else:
            report = run_dir / "traceback.txt"
            run_dir.mkdir(parents=True, exist_ok=True)
            report.write_text(traceback.format_exc(), encoding="utf-8")
            record.reason = f"unexpected {type(error).__name__}: {error}"
            record.next_step = f"report this with {report}"
    finally:
        record.times.finished, record.times.seconds = now(), round(clock() - started, 3)


@contextmanager
def stage(record: Record, name: str) -> Iterator[None]:
    """Time the block as a stage of the run."""
    start = clock()
    try:
        yield
    finally:
        record.times.stages[name] = round(clock() - start, 3)


def measure(measurement: Measurement, subject: Subject, record: Record, *, standing: bool = False) -> None:
    """Make one of several measurements and add what it gave to a record; see `skipping` for what may keep it out."""
    with skipping(record, measurement.name, standing=standing):
        with alone(measurement.alone), stage(record, measurement.name):
            values = measurement.run(subject)
        add_part(record, measurement, values)


@contextmanager
def skipping(record: Record, name: str, *, standing: bool = False) -> Iterator[None]:
    """Run one of several measurements: where the device has too little memory for it, or is shared, the others stand.

    A run that takes turns ends where the memory is too little: what the others hold may be the reason, and its sweep
    gives it the device to itself.

    Args:
        record: of the run.
        name: of the measurement.
        standing: whether others were made before this run.

    Raises:
        RuntimeError: PyTorch's out-of-memory error, where nothing else was measured, or the run takes turns.
        DeviceError: the device is shared, where nothing else was measured.
    """
    try:
        yield
    except DeviceError as error:
        if not (record.parts or standing):
            raise
        skip(record, name, error.message)
    except (RuntimeError, MemoryError) as error:
        if not _out_of_memory(error) or not (record.parts or standing) or turns().taken:
            raise
        skip(record, name, "the device has too little memory for it")


def possible(
    asked: Iterable[Measurement], subject: Subject, record: Record, *, standing: bool = False
) -> list[Measurement]:
    """The measurements that can be made, in the order of a run; the record says why the others cannot.

    Args:
        asked: measurements.
        subject: what is measured.
        record: of the run.
        standing: whether others stand already, so that nothing need be left.

    Raises:
        BlockedError: none of them can.
    """
    asked = list(asked)
    refusals = {measurement.name: reason for measurement in asked if (reason := measurement.refuses(subject))}
    if len(refusals) == len(asked) and not standing:
        name, reason = next(iter(refusals.items()))
        raise BlockedError(f"{name} {reason}", next_step=f"leave {name} out of measure, or give it that")
    for name, reason in refusals.items():
        skip(record, name, f"{name} {reason}")
    kept = [measurement for measurement in asked if measurement.name not in refusals]
    for measurement in kept:
        code_of(measurement.name, record.protocol.config)  # read now: files may be edited while this runs
    # Others wait for what is made in turns, and lose no hours where the sweep is ended in those that follow.
    interleaved = turns().taken
    return sorted(kept, key=lambda measurement: (not (interleaved and measurement.in_turns), measurement.order))


def skip(record: Record, name: str, reason: str) -> None:
    """Note why a measurement that was asked for is not made, where others are."""
    log.warning("warning: %s is not measured: %s", name, reason)
    record.skipped[name] = reason


def add_part(record: Record, measurement: Measurement, values: dict[str, Json]) -> None:
    """Add what one measurement gave to a record."""
    record.measured |= values
    images = None if measurement.count is None else record.number(measurement.count)
    record.parts[measurement.name] = Part(
        version=record.protocol.version if measurement.version is None else measurement.version,
        finished=now(),
        seconds=record.times.stages.get(measurement.name, 0.0),
        code=record.code,
        values=list(values),
        images=None if images is None else int(images),
        code_hash=code_of(measurement.name, record.protocol.config),
        environment=dict(environment()),
    )


_OUT_OF_MEMORY = "out of memory"


def is_out_of_memory(record: Record) -> bool:
    """Whether a run failed because its device had too little memory."""
    return record.status == "failed" and _OUT_OF_MEMORY in (record.reason or "")


def _out_of_memory(error: Exception) -> bool:
    # By its name, or its words: records are read, and errors told, without torch.
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))
