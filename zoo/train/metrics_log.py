"""metrics.csv: one line a step, with every digit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from zoo.errors import ZooError
from zoo.files import result_errors


class MetricsLog:
    """A growing CSV file that can be cut back to an earlier length.

    Columns: step and epoch (from 0), lr, loss, and every named loss. Numbers are written so that
    reading them gives the same float64 back.

    Args:
        path: the CSV file.
        size: bytes of it to keep, as an earlier `sync` returned; 0 starts it anew.

    Raises:
        ZooError: the file is shorter than that, or cannot be written.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        self.path = path
        with result_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[str] = path.open("a", encoding="utf-8", newline="\n")
            there = os.fstat(self._file.fileno()).st_size
            if there >= size:
                self._file.truncate(size)
        if there < size:
            self._file.close()
            message = f"{path} has {there} bytes, the checkpoint knows of {size}: lines of it were lost"
            raise ZooError(message, next_step="put the file back, or train again in another hydra.run.dir=DIR")
        self._header = size == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, step: int, epoch: int, lr: float, loss: float, losses: Mapping[str, float]) -> None:
        """Add a line. Raises ZooError where the disk refuses."""
        lines = ""
        if self._header:
            lines, self._header = ",".join(("step", "epoch", "lr", "loss", *losses)) + "\n", False
        values = (lr, loss, *losses.values())
        lines += ",".join((str(step), str(epoch), *map(repr, values))) + "\n"
        with result_errors(self.path):
            self._file.write(lines)
            self._file.flush()  # the line survives the process from here on

    def sync(self) -> int:
        """Bring everything to the disk; returns the length in bytes."""
        with result_errors(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())
        return os.fstat(self._file.fileno()).st_size
