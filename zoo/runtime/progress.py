"""How far a run is: a bar on a terminal, and a small file for whoever watches the run from another process."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tqdm import tqdm

if TYPE_CHECKING:
    Bar = tqdm[NoReturn]
else:  # it is generic for type checkers alone
    Bar = tqdm

PROGRESS_FILE = "ZOO_PROGRESS_FILE"
"""Environment variable: where a run of a sweep writes how far it is."""

EVERY = 1.0
"""Seconds between two writings of that file."""


class Progress(Bar):
    """A bar that is drawn on terminals alone, and whose state a file has as well where one is asked for.

    The file is JSON: `stage`, `done`, `total`, `unit` and `per_second` (since the stage began).

    Args:
        stage: what is being done, in a word.
        total: how many units there are.
        unit: of what is counted, such as "img".
        done: units that an earlier run did.
        hidden: whether nothing is shown and nothing written: of several processes one is enough.
    """

    def __init__(self, stage: str, *, total: int, unit: str, done: int = 0, hidden: bool = False) -> None:
        place = os.environ.get(PROGRESS_FILE)
        self._file = Path(place) if place and not hidden else None
        self._state: dict[str, Any] = {"stage": stage, "done": done, "total": total, "unit": unit}
        self._first, self._begun, self._written = done, time.monotonic(), 0.0
        super().__init__(total=total, initial=done, desc=stage, unit=unit, disable=hidden or None)

    def update(self, n: float | None = 1) -> bool | None:
        """Count further units; see `tqdm.update`."""
        self._state["done"] += n or 0
        now = time.monotonic()
        if self._file is not None and now - self._written >= EVERY:
            self._written = now
            rate = (self._state["done"] - self._first) / max(now - self._begun, 1e-9)
            text = json.dumps({**self._state, "per_second": round(rate, 3)}) + "\n"
            with contextlib.suppress(OSError):  # nobody's number depends on it
                self._file.write_text(text, encoding="utf-8")
        return super().update(n)
