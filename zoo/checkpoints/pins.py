"""Pins: the hash that an address had when it was first used, for what is published without one.

The lock file is JSON, sorted, one entry per address, and is committed with the results, so that
everybody measures the same bytes and a silently replaced file is noticed:

    {"https://host/yolov8n.pt": {"pinned": "2026-01-31", "sha256": "f59b3d83...", "size": 6549796}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from zoo.catalog.entry import Sha256
from zoo.errors import CheckpointError, UsageError
from zoo.fetch.cache import disk_errors, locked
from zoo.files import read_json, remove_rests, write_atomically
from zoo.schema import Minimum, Pattern, build

LOCK_FILE = "checkpoints.lock"
"""Name of the lock file in a folder of results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """What an address delivered when it was first used.

    Attributes:
        sha256: digest, lower-case hex.
        size: number of bytes.
        pinned: day of the first use, ISO 8601, UTC.
    """

    sha256: Sha256
    size: Annotated[int, Minimum(0)]
    pinned: Annotated[str, Pattern("[0-9]{4}-[0-9]{2}-[0-9]{2}", "a day such as 2026-01-31")]


class Pins:
    """The lock files of a run.

    Args:
        read: lock files to look in, the first that knows an address wins.
        write: lock file that new pins go to; it is looked in as well.
    """

    def __init__(self, read: Sequence[Path], write: Path) -> None:
        self._read = tuple(dict.fromkeys((*read, write)))
        self._write = write

    def find(self, urls: Sequence[str]) -> Pin | None:
        """The pin of a file that has these addresses: a pin of any mirror holds for all.

        Raises:
            CheckpointError: a lock file is not one.
        """
        for path in self._read:
            pins = _load(path)
            found = [pins[url] for url in urls if url in pins]
            if found:
                return found[0]
        return None

    def add(self, urls: Sequence[str], *, sha256: str, size: int) -> Pin:
        """Pin a file under all of its addresses, except those that another process has pinned meanwhile.

        Returns:
            The pin that holds from now on.

        Raises:
            CheckpointError: the lock file is not one.
            DownloadError: it cannot be written.
        """
        new = Pin(sha256=sha256, size=size, pinned=datetime.now(UTC).date().isoformat())
        name = self._write.name
        with disk_errors(self._write.parent, name, elsewhere="results.dir=DIR"), locked(self._write, name):
            pins = _load(self._write)
            pin = next((pins[url] for url in urls if url in pins), new)
            self._store({**dict.fromkeys(urls, pin), **pins})
        return pin

    def refuse_conflicts(self) -> None:
        """Look whether these lock files agree.

        Raises:
            CheckpointError: two of them have another file under one address, or one is no lock file.
        """
        known: dict[str, tuple[Path, Pin]] = {}
        for path in self._read:
            for url, pin in _load(path).items():
                first, other = known.setdefault(url, (path, pin))
                if other.sha256 != pin.sha256:
                    raise CheckpointError(
                        f"{url} delivered two files: {other.sha256}, pinned on {other.pinned} ({first}), "
                        f"and {pin.sha256}, pinned on {pin.pinned} ({path})",
                        next_step=f"find out which is the published one, and take the other out of its {LOCK_FILE}",
                    )

    def gather(self) -> None:
        """Write the pins of all of these lock files into the one for new pins, of one address the earliest.

        Raises:
            CheckpointError, DownloadError: as `add` does.
        """
        name = self._write.name
        with disk_errors(self._write.parent, name, elsewhere="results.dir=DIR"), locked(self._write, name):
            pins: dict[str, Pin] = {}
            for path in self._read:
                for url, pin in _load(path).items():
                    pins[url] = min(pins.get(url, pin), pin, key=lambda pin: pin.pinned)
            if pins != _load(self._write):
                self._store(pins)

    def _store(self, pins: Mapping[str, Pin]) -> None:
        text = json.dumps({url: asdict(pins[url]) for url in sorted(pins)}, indent=2, sort_keys=True)
        remove_rests(self._write)
        write_atomically(self._write, text + "\n")


def _load(path: Path) -> dict[str, Pin]:
    """The pins of one lock file; none where it does not exist yet."""
    next_step = f"restore it (git checkout -- {path.name}), or delete it to pin anew at the next use"
    try:
        document = read_json(path)
        if not isinstance(document, dict):
            raise ValueError(f"holds a {type(document).__name__}, not an object")
        return {url: build(Pin, fields, url[:200], next_step) for url, fields in document.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, UsageError) as error:
        raise CheckpointError(f"{path}: not a lock file of checkpoints: {error}", next_step=next_step) from None
