"""What is known of a sweep's jobs before a process is started for them: no torch is imported to know it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.catalog.entry import read_entry
from zoo.checkpoints.look_up import PATIENCE, lost_checkpoints
from zoo.config.compose import compose
from zoo.config.launchers import LAUNCHER, launchers_of
from zoo.config.remaining import remaining
from zoo.config.run_settings import RunSettings
from zoo.errors import BlockedError, DeviceError, UsageError, ZooError
from zoo.fetch.transport import RetryPolicy
from zoo.results.ledger import Ledger, results_dir
from zoo.results.record import Record
from zoo.results.run_folder import leave_standing, taken
from zoo.results.seeds import with_other_seeds
from zoo.results.verdict import judge
from zoo.runtime.hardware import Hardware, refuse_mode
from zoo.runtime.provenance import now
from zoo.sweep.job import Job
from zoo.sweep.machine import machine

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override


def refuse_faulty(arguments: Sequence[str], folder: Path) -> None:
    """Hold the settings of a sweep's first job against what settings may be: the others would be refused one by one.

    Args:
        arguments: command line of the sweep, checked.
        folder: folder of the sweep.

    Raises:
        UsageError: a value that nothing can be done with, of which the message names the key; or two that contradict.
    """
    given = _parsed(arguments)
    firsts = [
        f"{key}={next(one.sweep_string_iterator())}" if one.is_sweep_override() else str(one.input_line)
        for key, one in given.items()
        if key != "entry" and not key.startswith("hydra")
    ]
    entry = given["entry"]
    name = next(entry.sweep_string_iterator()) if entry.is_sweep_override() else entry.value()
    config = compose(str(name), firsts)
    if "sweep.interleave" in given or config["sweep"]["interleave"] != 1:
        _refuse_interleaving(arguments, given, config["sweep"])
    try:
        asked = RunSettings.from_config(config, overrides=firsts, run_dir=folder, default_results=results_dir()).asked
    except UsageError:
        raise
    except ZooError:  # files that are missing or damaged are its own: its run says so
        return
    if asked.sweep.gpus and asked.device not in ("auto", "cuda"):
        message = f"sweep.gpus deals out GPUs, and device={asked.device} takes none of them"
        raise UsageError(message, next_step="leave out one of the two")


def _refuse_interleaving(arguments: Sequence[str], given: Mapping[str, Override], options: Mapping[str, Any]) -> None:
    """Raise UsageError where runs are to take turns that cannot: one process starts those that do, on one device."""
    launchers = [name for name in launchers_of(arguments) if name != "basic"]
    if "sweep.interleave" in given and given["sweep.interleave"].is_sweep_override():
        message, step = "sweep.interleave is for a sweep, not for each of its runs", "give it one number"
    elif options["interleave"] == 1:
        return
    elif launchers:
        message = f"sweep.interleave: runs that {launchers[-1]} starts know nothing of each other, and take no turns"
        step = f"leave out {LAUNCHER}{launchers[-1]}, or sweep.interleave"
    elif options["gpus"]:
        message = "sweep.interleave lets runs take turns on one device, and sweep.gpus gives each a GPU of its own"
        step = "leave out one of the two; device=cuda:N chooses a GPU for all of them"
    else:
        return
    raise UsageError(message, next_step=step)


def _parsed(arguments: Sequence[str]) -> dict[str, Override]:
    """The overrides of a command line by their keys."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    given = OverridesParser.create().parse_overrides([item for item in arguments if not item.startswith("-")])
    return {one.key_or_group: one for one in given}


def look_up(arguments: Sequence[str], policy: RetryPolicy = PATIENCE) -> dict[str, str]:
    """The rows of a sweep whose published checkpoint is neither here nor to be had, each with the reason.

    Trainings and runs with files of one's own need others: nothing is looked up for them.

    Args:
        arguments: command line of the sweep, checked.
        policy: patience.
    """
    keys = _parsed(arguments)
    if any(key.startswith("checkpoint") for key in keys) or ("run" in keys and keys["run"].value() != "evaluate"):
        return {}
    entry, results = keys["entry"], keys.get("results.dir")
    names = list(entry.sweep_string_iterator()) if entry.is_sweep_override() else [entry.value()]
    folder = results_dir() if results is None or results.value() is None else Path(str(results.value()))
    return lost_checkpoints({str(name): read_entry(str(name)).checkpoint for name in names}, folder, policy)


def settled(job: Job, lost: Mapping[str, str]) -> int | None:
    """The exit status of a job for which nothing has to be run, with its record in the folder of the run.

    Args:
        job: the job.
        lost: see `look_up`.

    Returns:
        0 where everything is measured, and stands; 1 where the row is blocked; None where there is something to run.

    Raises:
        ZooError: the job's settings are those of no run, or the disk refuses.
    """
    reason = lost.get(job.config["entry"]["name"])
    if not job.config["resume"] and reason is None and job.config["mode"] == "eager":
        return None
    settings = job.settings()
    hardware = machine(settings.asked.device)
    if hardware is None:
        return None
    refused = _refused(settings, hardware, reason)
    if settings.asked.resume:
        left = remaining(settings, hardware)
        if left.record is not None and not left.reasons:
            leave_standing(settings.run_dir, left.record)
            return 0
    if refused is None:
        return None
    record = _blocked(settings, hardware, refused)
    with taken(settings.run_dir):
        record.write(settings.run_dir / "record.json")
    Ledger(settings.results_dir).file(record, settings.run_dir)
    return 1


def _refused(settings: RunSettings, hardware: Hardware, lost: str | None) -> BlockedError | None:
    """Why a run need not be begun; None where it may."""
    try:
        refuse_mode(settings.asked.mode, hardware.kind)
    except DeviceError as error:
        return error
    step = "check the network, or give a file you have with checkpoint.path=FILE"
    return None if lost is None else BlockedError(lost, next_step=step)


def _blocked(settings: RunSettings, hardware: Hardware, error: BlockedError) -> Record:
    """The record of a run for which something cannot be had."""
    record = settings.new_record()
    record.status, record.reason, record.next_step = error.status, error.message, error.next_step
    record.hardware = hardware
    record.identity = record.identity.on(hardware.kind)
    record.times.finished, record.times.seconds = now(), 0.0
    record.verdict = judge(with_other_seeds(record, settings.results_dir), settings.entry)
    return record
