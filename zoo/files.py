"""Writing files so that nothing is ever half there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from zoo.errors import ZooError

PACKAGE = Path(__file__).resolve().parent
PROJECT = PACKAGE.parent
"""The checkout, where the package is used from one; else the folder that it is installed in."""


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A text file to write, which takes the place of `path` in one step when the block ends well.

    A reader sees the old file or the new one, never a part; after an error or Ctrl-C the old one
    is untouched and nothing is left beside it.

    Raises:
        OSError: the folder cannot be written to, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp makes files private; results are for everyone
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)  # gone already where all went well


def write_atomically(path: Path, text: str) -> None:
    """Replace a text file in one step. Raises OSError as `replacing` does."""
    with replacing(path) as file:
        file.write(text)


@contextmanager
def result_errors(path: Path) -> Iterator[None]:
    """Turn what a disk refuses while a result is written into an error with a next step.

    Raises:
        ZooError: names the file and the reason.
    """
    try:
        yield
    except OSError as error:
        message = f"cannot write {path}: {error.strerror or error}"
        raise ZooError(message, next_step="free some space, or choose another folder with results.dir=DIR") from None
