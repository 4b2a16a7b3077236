"""What a step is given, and the lines that it says its findings in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Status = Literal["ok", "FAIL", "SKIP", "info"]


@dataclass(frozen=True, slots=True)
class Line:
    """One finding.

    Attributes:
        name: what was looked at.
        status: "ok" or "FAIL" where there is a goal, "info" where there is none, "SKIP" where it was not looked at.
        value: the number found; None where there is none.
        unit: of the number.
        goal: what had to be found.
        note: what else is to be known.
    """

    name: str
    status: Status
    value: float | None = None
    unit: str = ""
    goal: str = ""
    note: str = ""

    def __str__(self) -> str:
        value = "" if self.value is None else f"{self.value:.4g}{' ' if self.unit else ''}{self.unit}"
        parts = [f"{self.status:<4}", self.name, value, f"goal: {self.goal}" if self.goal else "", self.note]
        return "  ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Session:
    """What every step is given.

    Attributes:
        device: "cuda" or "cpu".
        folder: for files; it is gone in the end.
        parity: a folder with whole parity cases (`parity/`) and their images (`coco/`); None where there is none.
    """

    device: str
    folder: Path
    parity: Path | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether times and memory mean anything."""
        return self.device != "cpu"

    @property
    def half(self) -> str:
        """The half precision that the device computes in: a CPU takes an hour for what it does in fp16."""
        return "fp16" if self.on_gpu else "bf16"

    def timed(self, line: Line) -> Line:
        """A time, a ratio of times or memory: judged on a GPU, information on a CPU."""
        return line if self.on_gpu else dataclasses.replace(line, status="info")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One part of the check.

    Attributes:
        name: what `--only` calls it.
        goal: what it shows, for the line of a step that did not come to its end.
        run: yields the findings.
        needs: names of the packages that it needs.
        limit_s: seconds that it may take.
        timed: whether it takes times, for which it has the machine to itself.
    """

    name: str
    goal: str
    run: Run
    needs: tuple[str, ...]
    limit_s: float
    timed: bool = False


Run: TypeAlias = Callable[[Session], Iterator[Line]]


def figure(
    name: str,
    value: float,
    unit: str = "",
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    note: str = "",
) -> Line:
    """A number, with a goal where a limit is given; a number that is none misses it."""
    if at_least is None and at_most is None:
        return Line(name, "info", value, unit, note=note)
    reached = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
    limits = [f">= {at_least:g}" if at_least is not None else "", f"<= {at_most:g}" if at_most is not None else ""]
    goal = " and ".join(limit for limit in limits if limit)
    return Line(name, "ok" if reached else "FAIL", value, unit, goal, note)


def check(name: str, passed: bool, goal: str, note: str = "") -> Line:
    """Something that is so or is not."""
    return Line(name, "ok" if passed else "FAIL", goal=goal, note=note)


def skipped(name: str, why: str, goal: str = "") -> Line:
    """Something that could not be looked at."""
    return Line(name, "SKIP", goal=goal, note=why)
