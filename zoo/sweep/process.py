"""A job of a sweep in a process of its own: its memory is its own, and whatever becomes of it, the sweep goes on."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any, cast

from zoo.results.record import Record
from zoo.results.run_folder import LOG, PROGRESS
from zoo.runtime.device_use import SHARED_DEVICE, using
from zoo.runtime.progress import PROGRESS_FILE
from zoo.sweep import child
from zoo.sweep.gpus import one_of
from zoo.sweep.job import OUT_OF_MEMORY, Job

COMMAND = child.command("zoo.sweep.job")
"""What carries out the job in the first line of its standard input."""

LAST_LINES = 20
"""Lines of a log that the record of a run without a word of its own keeps."""

_PATIENCE = 20.0
"""Seconds that a process has to end by itself after it was asked to."""


def run_apart(job: Job) -> int:
    """Carry out a job in a process of its own, and again at half the batch size where the device's memory is too small.

    What the process prints is in `log.txt` in the folder of the run. A process that ends without a record is a failed
    record, with the last lines of its log.

    Returns:
        The exit status of the run.

    Raises:
        KeyboardInterrupt: after the process was asked to end, and has ended.
    """
    log = Path(job.run_dir) / LOG
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    options = job.config["sweep"]
    with ExitStack() as held:
        environment = {**child.environment(), PROGRESS_FILE: str(log.with_name(PROGRESS))}
        if options["gpus"]:
            job = job.on_a_gpu()
            environment["CUDA_VISIBLE_DEVICES"] = held.enter_context(one_of(options["gpus"]))
        device = log.parent.parent / ".devices" / _device(job.config["device"], environment)
        held.enter_context(using(device))
        environment[SHARED_DEVICE] = str(device)
        status = _attempt(job, log, environment)
        while status == OUT_OF_MEMORY and (smaller := _smaller_batch(job.config)):
            with log.open("a", encoding="utf-8") as file:
                file.write(f"\ntoo much for the memory: again with batch_size={smaller}\n")
            job = job.with_batch_size(smaller)
            status = _attempt(job, log, environment)
    return 1 if status == OUT_OF_MEMORY else status


def _device(asked: str, environment: Mapping[str, str]) -> str:
    """A name for the device of a run, the same for all runs of a sweep on it."""
    visible = environment.get("CUDA_VISIBLE_DEVICES", "").replace(",", "+")
    return "-".join(filter(None, (socket.gethostname(), asked.replace(":", ""), visible)))


def _smaller_batch(config: Mapping[str, Any]) -> int | None:
    """Half the batch size of an evaluation; None where it is 1 already, or where it belongs to the recipe."""
    size = config["batch_size"]
    return size // 2 if isinstance(size, int) and size > 1 and config["run"]["name"] != "train" else None


def _attempt(job: Job, log: Path, environment: Mapping[str, str]) -> int:
    """Run a job's process to its end; the exit status, 1 where it was ended from outside."""
    begun, limit = time.time(), job.config["sweep"]["timeout_min"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**environment, "PYTHONUNBUFFERED": "1"},
            text=True,
            start_new_session=True,  # Ctrl-C is for the sweep to pass on
        )
    try:
        with cast("IO[str]", process.stdin) as words:  # its end would be that of the process
            words.write(job.to_json() + "\n")
            words.flush()
            process.wait(None if limit is None else limit * 60)
    except BrokenPipeError:
        process.wait()
    except subprocess.TimeoutExpired:
        _end(process)
        _leave_record(job, begun, f"it was not done within {limit:g} minutes (sweep.timeout_min)", log)
        return 1
    except KeyboardInterrupt:
        _end(process)
        raise
    finally:
        _kill_group(process)
    if process.returncode in (0, 1, 2, OUT_OF_MEMORY):
        return process.returncode
    _leave_record(job, begun, f"its process ended by {_cause(process.returncode)}", log)
    return 1


def _end(process: subprocess.Popen[str]) -> None:
    """Ask a process to end, then make it."""
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _kill_group(process: subprocess.Popen[str]) -> None:
    """End what a process that is gone has left behind: its loaders of images."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _cause(status: int) -> str:
    """What ended a process, in words."""
    if status >= 0:
        return f"exit status {status}"
    name = signal.Signals(-status).name
    return f"{name}: killed from outside, or for want of memory" if name == "SIGKILL" else name


def _leave_record(job: Job, begun: float, reason: str, log: Path) -> None:
    """File a failed record of a run that left none."""
    path = Path(job.run_dir) / "record.json"
    if path.is_file() and path.stat().st_mtime >= begun:
        record = Record.read(path)
        if record.reason != "interrupted":
            return
    failed_record(job, reason, last_lines(log))


def failed_record(job: Job, reason: str, lines: Sequence[str] = ()) -> Record:
    """The record of a job that could not leave one itself: failed, written to the run's folder and filed.

    Args:
        job: the job.
        reason: why, in words.
        lines: the last ones of its log.

    Raises:
        ZooError: the job's settings are those of no run.
    """
    from zoo.results.ledger import Ledger
    from zoo.runtime.hardware import fingerprint, resolve_device

    run_dir = Path(job.run_dir)
    settings = job.settings()
    record = settings.new_record()
    record.hardware = fingerprint(resolve_device(settings.asked.device))
    record.reason = "\n".join([reason, *lines])
    record.next_step = f"run `{_alone(job)}` by itself; its log is {run_dir / LOG}"
    record.write(run_dir / "record.json")
    Ledger(settings.results_dir).file(record)
    return record


def _alone(job: Job) -> str:
    """The command that runs a job outside its sweep."""
    asked = [word for word in job.overrides if not word.startswith(("entry=", "hydra", "sweep."))]
    return shlex.join(["zoo", "run", job.config["entry"]["name"], *asked])


def last_lines(log: Path) -> list[str]:
    """The last lines of a log, as far as it is there."""
    try:
        text = log.read_bytes()[-10_000:].decode("utf-8", errors="replace")
    except OSError:
        return []
    return text.splitlines()[-LAST_LINES:]
