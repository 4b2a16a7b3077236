"""From an entry's checkpoint, or the user's choice of another file, to bytes on disk that are vouched for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypedDict

from zoo.catalog.entry import Checkpoint
from zoo.checkpoints.pins import LOCK_FILE, Pins
from zoo.checkpoints.store import CheckpointStore, StoredFile
from zoo.errors import HashMismatchError
from zoo.fetch.cache import cache_root
from zoo.fetch.hashes import ExpectedFile, published_prefix_from_name
from zoo.files import PROJECT

COMMITTED_PINS = PROJECT / "results" / LOCK_FILE

EMBEDDED = Path(__file__).parent / "embedded"
"""Checkpoints that come with the package; their address is `package:<file>`."""

PACKAGE = "package:"


class _Hashes(TypedDict):
    published_prefix: str | None
    published_sha256: str | None


def fetch_checkpoint(
    checkpoint: Checkpoint, results_dir: Path, *, path: Path | None = None, url: str | None = None
) -> StoredFile:
    """The file an entry is measured with.

    Args:
        checkpoint: the published one.
        results_dir: where a file without a published hash is pinned at first use; the project's own
            pins hold everywhere.
        path: a file of the user's own instead; where its hash is not the published one it counts as
            other weights.
        url: another address. The name at its end may announce a hash of its own, else the file must
            have the published one. It is never pinned.

    Raises:
        DownloadError, HashMismatchError, CheckpointError: see `CheckpointStore`.
    """
    store, hashes = _store(results_dir), _hashes(checkpoint)
    if path is not None:
        return store.register_local(path, urls=checkpoint.urls, **hashes)
    if url is not None:
        prefix = published_prefix_from_name(url) or checkpoint.sha256_prefix
        fetched = CheckpointStore().fetch([url], published_prefix=prefix)
        return dataclasses.replace(store.register_local(fetched.path, urls=checkpoint.urls, **hashes), url=url)
    if checkpoint.urls and checkpoint.urls[0].startswith(PACKAGE):
        return _embedded(store, checkpoint.urls[0], hashes)
    return store.fetch(checkpoint.urls, **hashes)


def expected_checkpoint(checkpoint: Checkpoint, results_dir: Path) -> ExpectedFile:
    """What is known of a published file without having it: its published hash, and its pin.

    Raises:
        HashMismatchError, CheckpointError: see `CheckpointStore.expected_file`.
    """
    return _store(results_dir).expected_file(checkpoint.urls, **_hashes(checkpoint))


def is_stored(checkpoint: Checkpoint, results_dir: Path) -> bool:
    """Whether a published file is in the cache. Raises as `CheckpointStore.holds` does."""
    return _store(results_dir).holds(checkpoint.urls, **_hashes(checkpoint))


def checkpoint_info(stored: StoredFile) -> dict[str, Any]:
    """A file as a record holds it; see `portable_path`."""
    return dataclasses.asdict(stored) | {"path": portable_path(stored.path)}


def portable_path(path: Path) -> str:
    """Where a file lies, without naming a folder of this machine.

    Relative to the project, or below `package:` or `cache:`; of a file elsewhere the name alone.
    """
    absolute = path.resolve()
    checkout = [("", PROJECT)] if (PROJECT / "pyproject.toml").is_file() else []
    for prefix, folder in ((PACKAGE, EMBEDDED), ("cache:", cache_root()), *checkout):
        if absolute.is_relative_to(folder.resolve()):
            return prefix + absolute.relative_to(folder.resolve()).as_posix()
    return absolute.name


def _store(results_dir: Path) -> CheckpointStore:
    return CheckpointStore(pins=Pins(read=[COMMITTED_PINS], write=results_dir / LOCK_FILE))


def _hashes(checkpoint: Checkpoint) -> _Hashes:
    return {"published_prefix": checkpoint.sha256_prefix, "published_sha256": checkpoint.sha256}


def _embedded(store: CheckpointStore, url: str, hashes: _Hashes) -> StoredFile:
    stored = store.register_local(EMBEDDED / url.removeprefix(PACKAGE), urls=[url], **hashes)
    if stored.hash_evidence == "other weights":
        message = f"{stored.path}: sha256 {stored.sha256} is not the one this version of zoo was released with"
        raise HashMismatchError(message, next_step="restore the file (git checkout), or install zoo again")
    return dataclasses.replace(stored, url=url)
