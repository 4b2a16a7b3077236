"""Each step in a process of its own: what one leaves on the card, or how it ends, does not touch the next."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from gpu.lines import Line, Session, Step, skipped

CPU_FACTOR = 8
"""How many times as long a step may take on a CPU, where the check as a whole has no limit."""


POLL_S = 0.5
"""How often a step is asked to stop."""


def run_step(
    step: Step, session: Session, absent: list[str], seconds_left: float, stop: threading.Event
) -> Iterator[Line]:
    """The findings of a step as they come.

    Args:
        step: the step.
        session: what it is given.
        absent: packages that are missing here.
        seconds_left: seconds that the whole check has left.
        stop: once it is set, the step is ended without a further word.
    """
    lacking = [name for name in step.needs if name in absent]
    if lacking:
        yield skipped(step.name, f"needs {', '.join(lacking)}", step.goal)
        return
    limit = min(step.limit_s, seconds_left) if session.on_gpu else step.limit_s * CPU_FACTOR
    if limit < 1:
        yield skipped(step.name, "no time was left for it", step.goal)
        return
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(step, session, sender))
    process.start()
    sender.close()
    deadline = time.monotonic() + limit
    try:
        while not stop.is_set():
            left = deadline - time.monotonic()
            if receiver.poll(min(max(left, 0), POLL_S)):
                try:
                    yield receiver.recv()
                except EOFError:  # all is said
                    process.join()
                    break
            elif left <= 0:
                yield Line(step.name, "FAIL", goal=step.goal, note=f"not at its end after {limit:.0f} s")
                return
        if process.exitcode:
            yield Line(step.name, "FAIL", goal=step.goal, note=f"its process ended with status {process.exitcode}")
    finally:
        if process.is_alive():  # out of time, or interrupted
            _end(process)


def findings(step: Step, session: Session) -> Iterator[Line]:
    """What a step finds; an error is a finding, and its traceback goes to stderr."""
    try:
        yield from step.run(session)
    except Exception as error:
        traceback.print_exc()
        yield Line(step.name, "FAIL", goal=step.goal, note=f"{type(error).__name__}: {' '.join(str(error).split())}")


def _child(step: Step, session: Session, sender: Connection) -> None:
    os.setsid()  # with the processes it starts it can be ended as one
    os.environ["ZOO_TESTS_SHARED"] = str(session.folder)  # weights are drawn once for all steps
    os.environ["ZOO_CACHE"] = str(session.folder / "cache")
    for line in findings(step, session):
        sender.send(line)
    sender.close()
    sys.stderr.flush()


def _end(process: SpawnProcess) -> None:
    """End a step and the processes it started."""
    try:
        if process.pid is not None:
            os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()
    process.join()
