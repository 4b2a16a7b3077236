"""What was wrong with a document, and what was done about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_LINES_SHOWN = 6


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing a reader had to get over.

    Attributes:
        file: the document.
        line: where, from 1.
        what: what was found.
        done: what was made of it.
    """

    file: str
    line: int
    what: str
    done: str


def summary(faults: Iterable[Fault]) -> list[str]:
    """Faults as lines of text, the same fault of one file in one line: "a.md:3, 5: two bars: left off"."""
    places: dict[tuple[str, str, str], list[int]] = {}
    for fault in faults:
        places.setdefault((fault.file, fault.what, fault.done), []).append(fault.line)
    return [f"{file}:{_numbers(lines)}: {what}: {done}" for (file, what, done), lines in places.items()]


def _numbers(lines: list[int]) -> str:
    shown = ", ".join(map(str, lines[:_LINES_SHOWN]))
    return shown if len(lines) <= _LINES_SHOWN else f"{shown} and {len(lines) - _LINES_SHOWN} more"
