"""Runs of a sweep whose timed rounds are interleaved, A B C A B C: a drift of the machine hits all of them alike."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from zoo.runtime.device_use import using
from zoo.runtime.turns import Purpose, Turn
from zoo.sweep.job import Job
from zoo.sweep.process import JobProcess, begin_log, device_folder, environment_of, run_apart

Ended: TypeAlias = Callable[[Job, Callable[[], int]], object]
"""Called with a job that has ended, and with what gives its exit status, or carries it out and gives it."""


@dataclass(slots=True, eq=False, kw_only=True)
class _Run:
    """A job that has begun, and not ended.

    Attributes:
        job: the job.
        name: what the records of the others call it.
        process: its process.
        held: its process and its use of the device.
        asks: what it waits for a turn for; None before it has begun to wait.
    """

    job: Job
    name: str
    process: JobProcess
    held: ExitStack
    asks: Purpose | None = None


class Interleaving:
    """Some runs of a sweep on one device: each has a process of its own, and one of them computes at a time.

    Each begins in its turn and goes on to its first timed round: its model is loaded, and warm. Where there are as many
    as `sweep.interleave` says, or no more to come, their rounds are taken in turns; after the last round of all of them
    each goes on to its end, one after the other. A run that times nothing goes on to its end at once.
    """

    def __init__(self) -> None:
        self._device: Path | None = None
        self._runs: list[_Run] = []
        self._rounds: list[_Run] = []
        self._again: list[Job] = []

    def add(self, job: Job, ended: Ended) -> None:
        """Begin a job, and finish all that have begun where they are as many as take turns.

        Args:
            job: the job.
            ended: see `Ended`.

        Raises:
            ZooError: the job's settings are those of no run.
        """
        name, environment = job.settings().new_record().label, environment_of(job)
        device = device_folder(job, environment)
        if device != self._device:
            self.finish(ended)
        self._device = device
        begin_log(job)
        with ExitStack() as held:
            held.enter_context(using(device))
            process = held.enter_context(JobProcess(job, environment, takes_turns=True))
            run = _Run(job=job, name=name, process=process, held=held.pop_all())
        self._runs.append(run)
        self._go_on(run, None, ended)
        if len(self._runs) >= job.config["sweep"]["interleave"]:
            self.finish(ended)

    def finish(self, ended: Ended) -> None:
        """Take the rounds of all that have begun in turns, and let them end; see `add`."""
        while self._runs:
            for run in [run for run in self._runs if run.asks == "round"] or self._runs[:1]:
                if run.asks == "round":
                    self._rounds.append(run)
                self._go_on(run, self._turn_of(run), ended)
        self._rounds.clear()
        while self._again:
            job = self._again.pop(0)
            ended(job, partial(run_apart, job))

    def end(self) -> None:
        """End what has begun, as by Ctrl-C."""
        for run in self._runs:
            run.process.ask_to_end()
        with ExitStack() as all_of_them:
            for run in self._runs:
                all_of_them.push(run.held)
        self._runs.clear()

    def _go_on(self, run: _Run, turn: Turn | None, ended: Ended) -> None:
        """Let a run go on until it asks for another turn, or ends."""
        run.asks = run.process.go_on(turn)
        if run.asks is not None:
            return
        self._runs.remove(run)
        with run.held:
            if run.process.out_of_memory:
                # The others' models may be what was too much: it gets the device to itself, as without interleaving.
                print(f"{Path(run.job.run_dir).name}: too much for the memory: again by itself", file=sys.stderr)
                self._again.append(run.job)
            else:
                ended(run.job, run.process.status)

    def _turn_of(self, run: _Run) -> Turn:
        """What a run is told with its turn."""
        own = [index for index, one in enumerate(self._rounds) if one is run]
        between = self._rounds[own[0] : own[-1]] if own else []
        return Turn(
            interleaved_with=tuple(dict.fromkeys(one.name for one in between if one is not run)),
            waiting=tuple(one.process.pid for one in self._runs if one is not run),
        )
