"""The store: from the addresses of a checkpoint to a file whose bytes are known to be the right ones.

Files lie under their own hash, `sha256/<first two digits>/<digest>/<original name>`, so that one
published at two addresses is there once and no name can stand for two contents. `index/` says which
digest an address had. Every use hashes the file again: a disk can rot, and people edit caches.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from zoo.checkpoints.index import Index, key_of
from zoo.checkpoints.pins import LOCK_FILE, Pin, Pins
from zoo.errors import CheckpointError, DownloadError, HashMismatchError
from zoo.fetch.cache import cache_root, disk_errors, locked
from zoo.fetch.download import download
from zoo.fetch.hashes import Digest, ExpectedFile, hash_file
from zoo.fetch.names import file_name
from zoo.fetch.transport import RetryPolicy

log = logging.getLogger(__name__)

HashEvidence = Literal["full", "published prefix", "first use", "none", "other weights"]
"""Why a file is believed to be the published one: its whole sha256 is published; the first digits
are; it is what the address delivered at first use; nothing says so; it is known not to be."""

_OWN_FILE = "give a file you have with checkpoint.path=FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A checkpoint on disk.

    Attributes:
        path: the file.
        url: the mirror it came from; None for a file of the user's, or where no address led to it.
        sha256: digest of its bytes, lower-case hex, computed just now.
        size: number of bytes.
        hash_evidence: reason why it is believed to be the published file.
    """

    path: Path
    url: str | None
    sha256: str
    size: int
    hash_evidence: HashEvidence

    @property
    def is_own(self) -> bool:
        """Whether the file is the user's own: not the published one, and perhaps not in its format."""
        return self.hash_evidence == "other weights"


class CheckpointStore:
    """Fetches checkpoints, keeps them, and vouches for their bytes.

    Args:
        root: folder of the store; `$ZOO_CACHE` or the user's cache folder where it is None.
        pins: lock files of first use; without them nothing is pinned and the evidence of a file
            published without a hash is "none".
        policy: patience of downloads.
    """

    def __init__(
        self, root: Path | None = None, pins: Pins | None = None, *, policy: RetryPolicy | None = None
    ) -> None:
        self.root = root if root is not None else cache_root()
        self._index = Index(self.root / "index")
        self._pins = pins
        self._policy = policy

    def fetch(
        self, urls: Sequence[str], *, published_prefix: str | None, published_sha256: str | None = None
    ) -> StoredFile:
        """The published file: from the store where it is there and undamaged, else downloaded.

        Args:
            urls: mirrors of one and the same file, in order of preference.
            published_prefix: the first hex digits of its sha256, where the publisher gives them.
            published_sha256: all of them, where the publisher gives them.

        Raises:
            DownloadError: no mirror delivered, or the disk refuses.
            HashMismatchError: what they deliver is not what was published or pinned.
            CheckpointError: a lock file of pins is not one.
        """
        if not urls:
            raise DownloadError("no address is known of this checkpoint", next_step=_OWN_FILE)
        label = file_name(urls[0], default="checkpoint")
        with disk_errors(self.root, label):
            expect = self.expected_file(urls, published_prefix=published_prefix, published_sha256=published_sha256)
            # What is there is read without a lock: a cache need not be writable to be used.
            url, path, digest = self._cached(urls, expect) or self._fetch_locked(urls, expect, label)
            if self._pins is not None and published_sha256 is None and expect.sha256 is None:
                pin = self._pins.add(urls, sha256=digest.sha256, size=digest.size)
                self._check_race(pin, digest, label)
        return StoredFile(
            path=path,
            url=url,
            sha256=digest.sha256,
            size=digest.size,
            hash_evidence=self._evidence(published_prefix, published_sha256, pinned=self._pins is not None),
        )

    def holds(self, urls: Sequence[str], *, published_prefix: str | None, published_sha256: str | None = None) -> bool:
        """Whether the file is in the store; `fetch` hashes it, and may find it damaged. Arguments as for `fetch`.

        Raises:
            HashMismatchError, CheckpointError: as `expected_file` does.
        """
        expect = self.expected_file(urls, published_prefix=published_prefix, published_sha256=published_sha256)
        with disk_errors(self.root, file_name(urls[0], default="checkpoint")):
            return any(self._files(sha256) for _, sha256 in self._known_digests(urls, expect))

    def _fetch_locked(self, urls: Sequence[str], expect: ExpectedFile, label: str) -> tuple[str | None, Path, Digest]:
        """Download the file, unless the process that held the lock before has done so."""
        with locked(self._index.path(urls[0]), label):
            return self._cached(urls, expect, mend=True) or self._download(urls, expect, label)

    def register_local(
        self, path: Path, *, urls: Sequence[str], published_prefix: str | None, published_sha256: str | None = None
    ) -> StoredFile:
        """A file of the user's own, measured where it lies; its hash decides whether it is the published one.

        Args:
            path: the user's file; its name does not matter.
            urls, published_prefix, published_sha256: of the published file, as for `fetch`.

        Raises:
            CheckpointError: there is no such file, or it cannot be read, or it is empty.
        """
        digest = _own_digest(path)
        pin = self._pins.find(urls) if self._pins is not None else None
        expect = ExpectedFile(
            sha256=published_sha256 or (pin.sha256 if pin is not None else None), sha256_prefix=published_prefix
        )
        evidence = self._evidence(published_prefix, published_sha256, pinned=pin is not None)
        if evidence == "none" or expect.mismatch(digest) is not None:
            evidence = "other weights"
        return StoredFile(path=path, url=None, sha256=digest.sha256, size=digest.size, hash_evidence=evidence)

    @staticmethod
    def _evidence(prefix: str | None, sha256: str | None, *, pinned: bool) -> HashEvidence:
        """What a file that fits everything known of it can show."""
        if sha256 is not None:
            return "full"
        if prefix is not None:
            return "published prefix"
        return "first use" if pinned else "none"

    def expected_file(
        self, urls: Sequence[str], *, published_prefix: str | None, published_sha256: str | None = None
    ) -> ExpectedFile:
        """Everything known of a file: what was published, and what was pinned. Arguments as for `fetch`.

        Raises:
            HashMismatchError: the two contradict each other.
            CheckpointError: a lock file of pins is not one.
        """
        published = ExpectedFile(sha256=published_sha256, sha256_prefix=published_prefix)
        pin = self._pins.find(urls) if self._pins is not None else None
        if pin is None:
            return published
        contradiction = published.mismatch(Digest(size=pin.size, sha256=pin.sha256))
        if contradiction is not None:
            label = file_name(urls[0], default="checkpoint")
            raise HashMismatchError(
                f"{label}: the file pinned on {pin.pinned} is not the published one: {contradiction}",
                next_step=f"correct the published hash in the entry's YAML, or remove the pin from {LOCK_FILE}",
            )
        if published_sha256 is not None:
            return published
        return replace(published, sha256=pin.sha256, pinned_on=pin.pinned, size=pin.size)

    def _check_race(self, pin: Pin, digest: Digest, label: str) -> None:
        """Another process may have pinned the same address in between, and have been given another file."""
        mismatch = ExpectedFile(sha256=pin.sha256, pinned_on=pin.pinned).mismatch(digest)
        if mismatch is not None:
            raise HashMismatchError(
                f"{label}: {mismatch}", next_step=f"run again to fetch the pinned file, or {_OWN_FILE}"
            )

    def _cached(
        self, urls: Sequence[str], expect: ExpectedFile, *, mend: bool = False
    ) -> tuple[str | None, Path, Digest] | None:
        """The file, if the store has it undamaged; with `mend` damaged ones are removed."""
        for url, sha256 in self._known_digests(urls, expect):
            for path in self._files(sha256):
                digest = hash_file(path)
                if digest.sha256 != sha256:
                    if mend:
                        log.warning("%s: the cached file is damaged; it is removed and fetched again", path)
                        path.unlink()
                elif expect.mismatch(digest) is None:
                    return url, path, digest
        return None

    def _known_digests(self, urls: Sequence[str], expect: ExpectedFile) -> Iterator[tuple[str | None, str]]:
        """The digests that the file may lie under, with the address that each is known from."""
        for url in urls:
            sha256 = self._index.find(url)
            if sha256 is not None:
                yield url, sha256
        if expect.sha256 is not None:
            yield None, expect.sha256

    def _download(self, urls: Sequence[str], expect: ExpectedFile, label: str) -> tuple[str | None, Path, Digest]:
        """Fetch the file and file it under its hash."""
        incoming = self.root / "incoming" / key_of(urls[0])
        arrived = download(urls, incoming / label, expect=expect, label=label, instead=_OWN_FILE, policy=self._policy)
        path = self._folder(arrived.digest.sha256) / label
        path.parent.mkdir(parents=True, exist_ok=True)
        arrived.path.replace(path)
        shutil.rmtree(incoming)
        if arrived.url is not None:
            self._index.add(arrived.url, arrived.digest.sha256)
        return arrived.url, path, arrived.digest

    def _folder(self, sha256: str) -> Path:
        return self.root / "sha256" / sha256[:2] / sha256

    def _files(self, sha256: str) -> list[Path]:
        """What lies under a digest: one file, whatever its name, unless somebody has been there."""
        folder = self._folder(sha256)
        if folder.is_symlink() or not folder.is_dir():  # behind a link are somebody's files, not ours to remove
            return []
        return sorted(path for path in folder.iterdir() if path.is_file())


def _own_digest(path: Path) -> Digest:
    """The digest of the user's file, or an error that says what is the matter with it."""
    try:
        # A pipe would be waited for, and a device has no end.
        digest = hash_file(path) if path.is_file() or path.is_dir() or not path.exists() else None
    except FileNotFoundError:
        problem = "there is no such file"
    except IsADirectoryError:
        problem = "that is a folder, not a file"
    except OSError as error:
        problem = f"it cannot be read: {error.strerror or error}"
    else:
        if digest is not None and digest.size:
            return digest
        problem = "that is not a regular file" if digest is None else "the file is empty"
    raise CheckpointError(
        f"checkpoint.path={path}: {problem}",
        next_step="give a checkpoint file you can read, or leave checkpoint.path out to fetch the published one",
    )
