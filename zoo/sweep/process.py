"""A job of a sweep in a process of its own: its memory is its own, and whatever becomes of it, the sweep goes on."""

from __future__ import annotations

import math
import os
import select
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any, Self, cast

from zoo.config.paths import as_typed
from zoo.results.record import Record
from zoo.results.run_folder import LOG, PROGRESS
from zoo.runtime.device_use import SHARED_DEVICE, using
from zoo.runtime.progress import PROGRESS_FILE
from zoo.runtime.turns import CHANNEL, Purpose, Turn
from zoo.sweep import child
from zoo.sweep.gpus import one_of
from zoo.sweep.job import OUT_OF_MEMORY, Job

COMMAND = child.command("zoo.sweep.job")
"""What carries out the job in the first line of its standard input."""

LAST_LINES = 20
"""Lines of a log that the record of a run without a word of its own keeps."""

_PATIENCE = 20.0
"""Seconds that a process has to end by itself after it was asked to."""

_EVERY = 0.2
"""Seconds between two looks whether a process that may ask for a turn has ended."""

_LONGEST_WORD = 64
"""Bytes that name what a turn is asked for, at most."""


def run_apart(job: Job) -> int:
    """Carry out a job in a process of its own, and again at half the batch size where the device's memory is too small.

    What the process prints is in `log.txt` in the folder of the run. A process that ends without a record is a failed
    record, with the last lines of its log.

    Returns:
        The exit status of the run.

    Raises:
        KeyboardInterrupt: after the process was asked to end, and has ended.
    """
    log = begin_log(job)
    options = job.config["sweep"]
    with ExitStack() as held:
        environment = environment_of(job)
        if options["gpus"]:
            job = job.on_a_gpu()
            environment["CUDA_VISIBLE_DEVICES"] = held.enter_context(one_of(options["gpus"]))
        device = device_folder(job, environment)
        held.enter_context(using(device))
        environment[SHARED_DEVICE] = str(device)
        status = _attempt(job, environment)
        while status == OUT_OF_MEMORY and (smaller := _smaller_batch(job.config)):
            with log.open("a", encoding="utf-8") as file:
                file.write(f"\ntoo much for the memory: again with batch_size={smaller}\n")
            job = job.with_batch_size(smaller)
            status = _attempt(job, environment)
    return 1 if status == OUT_OF_MEMORY else status


def begin_log(job: Job) -> Path:
    """The log of a job, empty, in its folder."""
    log = Path(job.run_dir) / LOG
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    return log


def environment_of(job: Job) -> dict[str, str]:
    """The environment of a job's process, but for its device."""
    return {**child.environment(), PROGRESS_FILE: str(Path(job.run_dir) / PROGRESS), "PYTHONUNBUFFERED": "1"}


def device_folder(job: Job, environment: Mapping[str, str]) -> Path:
    """The folder that knows the runs on the device of a job: the same for all runs of a sweep on it."""
    visible = environment.get("CUDA_VISIBLE_DEVICES", "").replace(",", "+")
    name = "-".join(filter(None, (socket.gethostname(), job.config["device"].replace(":", ""), visible)))
    return Path(job.run_dir).parent / ".devices" / name


def _smaller_batch(config: Mapping[str, Any]) -> int | None:
    """Half the batch size of an evaluation; None where it is 1 already, or where it belongs to the recipe."""
    size = config["batch_size"]
    return size // 2 if isinstance(size, int) and size > 1 and config["run"]["name"] != "train" else None


def _attempt(job: Job, environment: Mapping[str, str]) -> int:
    """Run a job's process to its end; the exit status, 1 where it was ended from outside."""
    with JobProcess(job, environment) as process:
        process.go_on()
        return process.status()


class JobProcess:
    """The process of a job; at the end of the block it has ended, and what it may have left behind as well.

    Args:
        job: its log has been begun.
        environment: see `environment_of`.
        takes_turns: whether it computes only while it has the turn: see `zoo.runtime.turns`.
    """

    def __init__(self, job: Job, environment: Mapping[str, str], *, takes_turns: bool = False) -> None:
        self._job, self._log = job, Path(job.run_dir) / LOG
        limit = job.config["sweep"]["timeout_min"]
        self._left = None if limit is None else limit * 60
        self._overdue = False
        self._begun = time.time()
        self._asked: int | None = None
        asks: int | None = None
        if takes_turns:
            self._asked, asks = os.pipe()
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment if asks is None else {**environment, CHANNEL: str(asks)},
                pass_fds=() if asks is None else (asks,),
                text=True,
                start_new_session=True,  # Ctrl-C is for the sweep to pass on
            )
        if asks is not None:
            os.close(asks)
        self._words = cast("IO[str]", self._process.stdin)  # its end would be that of the process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.ask_to_end()
        self._make_end()
        if self._asked is not None:
            os.close(self._asked)
        with suppress(BrokenPipeError):
            self._words.close()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def go_on(self, turn: Turn | None = None) -> Purpose | None:
        """Let it go on until it asks for a turn or ends; `sweep.timeout_min` counts while it does.

        Args:
            turn: the turn that it asked for; None lets it begin.

        Returns:
            What it asks for a turn for; None where it has ended.
        """
        begun = time.monotonic()
        with suppress(BrokenPipeError):  # it has ended
            self._words.write(f"{self._job.to_json() if turn is None else turn.to_json()}\n")
            self._words.flush()
        try:
            return self._purpose(math.inf if self._left is None else begun + self._left)
        except subprocess.TimeoutExpired:
            self._overdue = True
            self.ask_to_end()
            self._make_end()
            return None
        finally:
            if self._left is not None:
                self._left -= time.monotonic() - begun

    def _purpose(self, deadline: float) -> Purpose | None:
        """What it asks for next; None at its end. Raises TimeoutExpired."""
        while self._asked is not None and self._process.poll() is None:  # what it left behind may hold the pipe open
            wait = max(0.0, min(_EVERY, deadline - time.monotonic()))
            if select.select([self._asked], [], [], wait)[0]:
                purpose = os.read(self._asked, _LONGEST_WORD).decode().strip()
                if purpose:
                    return cast(Purpose, purpose)
                break
            if time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired(COMMAND, 0.0)
        self._process.wait(None if deadline == math.inf else max(0.0, deadline - time.monotonic()))
        return None

    @property
    def out_of_memory(self) -> bool:
        """Whether it has ended because its device had too little memory."""
        return self._process.returncode == OUT_OF_MEMORY

    def status(self) -> int:
        """Its exit status, after its end; 1 where it was ended from outside: then its record is made here.

        Raises:
            ZooError: the job's settings are those of no run.
        """
        status, limit = self._process.returncode, self._job.config["sweep"]["timeout_min"]
        if not self._overdue and status in (0, 1, 2, OUT_OF_MEMORY):
            return int(status)
        late = f"it was not done within {limit:g} minutes (sweep.timeout_min)" if self._overdue else None
        _leave_record(self._job, self._begun, late or f"its process ended by {_cause(status)}", self._log)
        return 1

    def ask_to_end(self) -> None:
        """Ask it to end, where it has not."""
        if self._process.poll() is None:
            self._process.terminate()

    def _make_end(self) -> None:
        """Make it end, where it does not by itself, and with it its loaders of images."""
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            if hasattr(os, "killpg"):
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)


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
    asked = [as_typed(word) for word in job.overrides if not word.startswith(("entry=", "hydra", "sweep."))]
    return shlex.join(["zoo", "run", job.config["entry"]["name"], *asked])


def last_lines(log: Path) -> list[str]:
    """The last lines of a log, as far as it is there."""
    try:
        text = log.read_bytes()[-10_000:].decode("utf-8", errors="replace")
    except OSError:
        return []
    return text.splitlines()[-LAST_LINES:]
