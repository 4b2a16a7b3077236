"""Writing files so that nothing is ever half there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from zoo.errors import ZooError
from zoo.schema import parse_json

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


def files_below(folder: Path, pattern: str) -> list[Path]:
    """The files of a results folder that a pattern means, sorted; none where the folder is not there.

    `Path.glob` takes a folder that cannot be read for an empty one, and results would be missing unnoticed.

    Args:
        folder: the folder.
        pattern: as `Path.glob` takes it.

    Raises:
        ZooError: the folder, or one in it, cannot be read.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):  # another process may take one away
            step = "make the folder readable, or choose another"
            raise ZooError(f"cannot read {error.filename}: {error.strerror}", next_step=step)

    for _ in os.walk(folder, onerror=refuse):
        pass
    return sorted(folder.glob(pattern))


def remove_rests(path: Path) -> None:
    """Remove what `replacing` left beside a file when it was killed. For whoever is its only writer, by a lock.

    Raises:
        OSError: the folder cannot be written to.
    """
    for rest in path.parent.glob(f".{path.name}.*.part"):
        rest.unlink(missing_ok=True)


LARGEST_JSON = 64 * 2**20
"""Bytes of the largest JSON file of ours: many times what a long list of pins or a full record takes."""


def read_json(path: Path) -> Any:
    """What a small JSON file of ours holds. Its form is the caller's to check, with `zoo.schema.build`.

    Raises:
        OSError, ValueError: as `read_text` does, or it is refused by `parse_json`.
    """
    return parse_json(read_text(path))


def read_text(path: Path) -> str:
    """The text of a small JSON file of ours.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not UTF-8, larger than `LARGEST_JSON`, or no regular file.
    """
    if path.exists() and not path.is_file() and not path.is_dir():  # a pipe would be waited for
        raise ValueError("not a regular file")
    with path.open("rb") as file:
        data = file.read(LARGEST_JSON + 1)
    if len(data) > LARGEST_JSON:
        raise ValueError(f"larger than {LARGEST_JSON >> 20} MiB")
    return data.decode("utf-8")


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
