"""Turns on a device: runs of a sweep whose timed rounds are interleaved hand it on to each other.

Each is a process of its own that computes only while it has the turn. It asks for one by a pipe, and waits, its model
loaded and its processor idle, until the sweep grants it by a line of its standard input: see `zoo.sweep.interleave`.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from queue import SimpleQueue
from typing import Literal, Self, TypeAlias

from zoo.schema import build, parse_json

CHANNEL = "ZOO_TURNS"
"""Environment variable of a run that takes turns: the file descriptor by which it asks for one."""

Purpose: TypeAlias = Literal["round", "rest"]
"""What a turn is asked for: one timed round, or all that comes after the last of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a run is told with its turn.

    Attributes:
        interleaved_with: other runs that had a round between two of its own so far.
        waiting: process ids of the runs that wait meanwhile, with their models on the device.
    """

    interleaved_with: tuple[str, ...] = ()
    waiting: tuple[int, ...] = ()

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """What `to_json` gives."""
        return build(cls, parse_json(line), "", "")


class Turns:
    """The turns of one process.

    Args:
        channel: file descriptor by which it asks for them; None has the device all the time, and waits for nothing.

    Attributes:
        last: the turn that it has.
        waited: seconds that it has waited for turns.
    """

    def __init__(self, channel: int | None) -> None:
        self._channel = channel
        self._granted: SimpleQueue[Turn] = SimpleQueue()
        self.last, self.waited = Turn(), 0.0

    @property
    def taken(self) -> bool:
        """Whether this process takes turns with others."""
        return self._channel is not None

    def wait(self, purpose: Purpose) -> None:
        """Hand the device on, and return when it is this process's turn again."""
        if self._channel is None:
            return
        begun = time.perf_counter()
        with suppress(BrokenPipeError):  # the sweep is gone: the end of the standard input ends this process
            os.write(self._channel, f"{purpose}\n".encode())
        self.last = self._granted.get()
        self.waited += time.perf_counter() - begun

    def grant(self, turn: Turn) -> None:
        """Let this process go on; called by the thread that listens to the sweep."""
        self._granted.put(turn)


@cache
def turns() -> Turns:
    """The turns of this process; processes that it starts are of no sweep."""
    channel = os.environ.pop(CHANNEL, None)
    if channel is None:
        return Turns(None)
    os.set_inheritable(int(channel), False)
    return Turns(int(channel))


def clock() -> float:
    """Seconds of a clock that stands still while this process waits for its turn."""
    return time.perf_counter() - turns().waited
