"""The index of the cache: the digest that each address had, one small JSON file an address.

It can always be made anew from the addresses, so a damaged file of it costs a download and no more.
"""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from zoo.catalog.entry import Sha256
from zoo.errors import UsageError
from zoo.files import read_json, write_atomically
from zoo.schema import build

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """What an address delivered.

    Attributes:
        url: the address.
        sha256: digest of the file, lower-case hex.
    """

    url: str
    sha256: Sha256


class Index:
    """The digests of the addresses that the files of a store came from.

    Args:
        folder: where its files are; need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, url: str) -> Path:
        """The file of an address, whether it is there or not."""
        return self._folder / f"{key_of(url)}.json"

    def find(self, url: str) -> str | None:
        """The sha256 that an address had; None where nothing came from there yet.

        A file that is no entry of this address counts as absent: it is set aside with a warning, and the next
        download writes it anew.

        Raises:
            OSError: the file cannot be read, or not be set aside.
        """
        path = self.path(url)
        try:
            entry = build(IndexEntry, read_json(path), "", "")
            if entry.url != url:
                raise ValueError("it is that of another address")
        except FileNotFoundError:
            return None
        except (IsADirectoryError, ValueError, UsageError) as error:
            aside = path.with_suffix(".damaged")
            log.warning("%s: the cache does not know this file any more: %s (kept as %s)", path, error, aside.name)
            with suppress(FileNotFoundError):  # another process was faster
                path.replace(aside)
            return None
        return entry.sha256

    def add(self, url: str, sha256: str) -> None:
        """Note what an address delivered. Raises OSError where the file cannot be written."""
        write_atomically(self.path(url), json.dumps(asdict(IndexEntry(url=url, sha256=sha256)), indent=2) + "\n")


def key_of(url: str) -> str:
    """A name for files that stands for one address, whatever its characters."""
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
