"""Turns on a device, as the process sees them that asks for them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from zoo.runtime.turns import CHANNEL, Turn, Turns, clock, turns


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The end of a pipe at which a sweep listens; the turns of this process ask by the other."""
    listens, asks = os.pipe()
    os.set_inheritable(asks, True)
    monkeypatch.setenv(CHANNEL, str(asks))
    turns.cache_clear()
    yield listens
    turns.cache_clear()
    for end in (listens, asks):
        os.close(end)


def test_a_turn_is_asked_for_and_the_clock_stands_still_meanwhile(asked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([10.0, 17.0, 20.0])
    monkeypatch.setattr("time.perf_counter", seconds.__next__)
    granted = Turn(interleaved_with=("a", "b (mode=graph)"), waiting=(7, 8))
    turns().grant(Turn.from_json(granted.to_json()))
    turns().wait("round")
    assert os.read(asked, 100) == b"round\n"
    assert turns().last == granted
    assert clock() == 13.0, "20 without the seven that it waited"


def test_processes_that_it_starts_take_no_turns(asked: int) -> None:
    channel = int(os.environ[CHANNEL])
    assert turns().taken
    assert CHANNEL not in os.environ
    assert not os.get_inheritable(channel)
    assert asked != channel


def test_without_a_sweep_nothing_is_waited_for() -> None:
    own = Turns(None)
    own.wait("rest")
    assert (own.taken, own.waited, own.last) == (False, 0.0, Turn())
