"""What was wrong with a document, and what was done about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MAX_LISTED = 6


@dataclass(frozen=True, slots=True, order=True)
class Issue:
    """One flaw of a document that a reader repaired or left out.

    Attributes:
        file: the document.
        line: its line in the document, from 1.
        problem: what was found.
        resolution: what was made of it.
    """

    file: str
    line: int
    problem: str
    resolution: str


def summary(issues: Iterable[Issue]) -> list[str]:
    """Faults as lines of text, the same issue of one file in one line: "a.md:3, 5: two bars: left off"."""
    lines: dict[tuple[str, str, str], list[int]] = {}
    for issue in issues:
        lines.setdefault((issue.file, issue.problem, issue.resolution), []).append(issue.line)
    return [
        f"{file}:{_numbers(found)}: {problem}: {resolution}" for (file, problem, resolution), found in lines.items()
    ]


def _numbers(lines: list[int]) -> str:
    shown = ", ".join(map(str, lines[:MAX_LISTED]))
    return shown if len(lines) <= MAX_LISTED else f"{shown} and {len(lines) - MAX_LISTED} more"
