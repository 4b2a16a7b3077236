"""What a sweep says of itself while it runs: one line that changes on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from zoo.results.run_folder import progress_of
from zoo.sweep.folders import job_folders, status_of
from zoo.terminal import width_of

_EVERY_ON_A_TERMINAL, _EVERY = 1.0, 60.0
"""Seconds between two looks."""

_CLEARED = "\r\x1b[K"


class View:
    """Says how far a sweep is for as long as its context lasts.

    Args:
        sweep: its folder.
        started: when it began.
        jobs: how many jobs it has.
    """

    def __init__(self, sweep: Path, started: datetime, jobs: int) -> None:
        self._sweep, self._started, self._jobs = sweep, started, jobs
        self._begun = time.monotonic()
        self._finished: dict[Path, str] = {}
        self._end = threading.Event()
        self._terminal = sys.stderr.isatty()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()
        if self._terminal:
            print(_CLEARED, end="", file=sys.stderr, flush=True)

    def line(self) -> str:
        """How far the sweep is, in a line."""
        running = []
        for folder in job_folders(self._sweep, self._started):
            if folder in self._finished:
                continue
            status = status_of(folder, self._started)
            if status == "running":
                running.append(folder)
            else:
                self._finished[folder] = status
        counts = Counter(self._finished.values())
        parts = [f"{len(self._finished)} of {self._jobs} done"]
        parts += [
            f"{counts[status]} {status}" for status in ("measured", "standing", "blocked", "failed") if counts[status]
        ]
        parts += [_words(folder) for folder in running]
        left = self._jobs - len(self._finished)
        if computed := counts["measured"] + counts["failed"]:  # what stands or is blocked takes no time
            parts.append(f"about {_duration((time.monotonic() - self._begun) / computed * left)} to go")
        return "; ".join(parts)

    def _watch(self) -> None:
        while not self._end.wait(_EVERY_ON_A_TERMINAL if self._terminal else _EVERY):
            line = self.line()
            if self._terminal:
                width = width_of(sys.stderr) or len(line) + 1
                print(f"{_CLEARED}{line[: width - 1]}", end="", file=sys.stderr, flush=True)
            else:
                print(line, file=sys.stderr, flush=True)


def _words(folder: Path) -> str:
    progress = progress_of(folder)
    return f"{folder.name} {'begins' if progress is None else progress}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
