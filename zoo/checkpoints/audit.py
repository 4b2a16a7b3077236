"""Which published weights can still be had: every mirror of every checkpoint and of every file a training begins with.

A mirror that is gone is a note; a file without any mirror that is alive blocks its row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from zoo.catalog.entry import Checkpoint, Entry
from zoo.catalog.initial import initial_checkpoint
from zoo.checkpoints.fetch_checkpoint import COMMITTED_PINS, EMBEDDED, PACKAGE
from zoo.checkpoints.pins import LOCK_FILE, Pin, Pins
from zoo.fetch.audit import PATIENCE, Link, LinkStatus, Sighting, audit, last_seen
from zoo.fetch.transport import RetryPolicy
from zoo.runtime.provenance import now

FileStatus = Literal["ok", "unknown", "BLOCKED"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """One address of a file.

    Attributes:
        url: the address.
        status: see `zoo.fetch.audit.Link`; "other file" where it offers another size than was pinned.
        size: bytes that the server announces; None where it does not.
        reason: why it is not alive, or what is odd about it.
        last_seen: when it was last alive (UTC, ISO 8601); None for never.
    """

    url: str
    status: LinkStatus | Literal["other file"]
    size: int | None = None
    reason: str | None = None
    last_seen: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedFile:
    """One file that a row needs.

    Attributes:
        entry: name of the row.
        role: "checkpoint", or "initial" for the weights that its training begins with.
        hash_evidence: "full", "published prefix", "first use" (pinned) or "none": what a download is held against.
        mirrors: its addresses, in order of preference.
    """

    entry: str
    role: Literal["checkpoint", "initial"]
    hash_evidence: Literal["full", "published prefix", "first use", "none"]
    mirrors: tuple[Mirror, ...]

    @property
    def status(self) -> FileStatus:
        """ "ok" with a mirror that is alive, "unknown" where only a download would tell, else "BLOCKED"."""
        found = {mirror.status for mirror in self.mirrors}
        if "alive" in found:
            return "ok"
        return "unknown" if found & {"refuses HEAD", "not asked"} else "BLOCKED"


def audit_checkpoints(entries: Iterable[Entry], results_dir: Path, policy: RetryPolicy = PATIENCE) -> list[AuditedFile]:
    """Ask for every mirror of the entries' files; nothing of a file is fetched.

    Args:
        entries: the rows, in the order of the answer.
        results_dir: whose pins count besides the project's own.
        policy: patience.

    Raises:
        CheckpointError: a lock file of pins is not one.
        DownloadError: the cache cannot be written to.
        UsageError: an entry names initial weights that are not there.
    """
    pins = Pins(read=[COMMITTED_PINS], write=results_dir / LOCK_FILE)
    files = [(entry.name, role, checkpoint) for entry in entries for role, checkpoint in _files(entry)]
    links = audit((url for *_, file in files for url in file.urls if not url.startswith(PACKAGE)), policy)
    links |= {url: _packaged(url) for *_, file in files for url in file.urls if url.startswith(PACKAGE)}
    seen = last_seen(links, now())
    found = []
    for name, role, file in files:
        pin = pins.find(file.urls)
        mirrors = _with_odd_sizes([_mirror(url, links[url], seen, pin) for url in file.urls])
        found.append(AuditedFile(entry=name, role=role, hash_evidence=_evidence(file, pin), mirrors=mirrors))
    return found


def _files(entry: Entry) -> Iterator[tuple[Literal["checkpoint", "initial"], Checkpoint]]:
    yield "checkpoint", entry.checkpoint
    initial = initial_checkpoint(entry)
    if initial is not None:
        yield "initial", initial


def _packaged(url: str) -> Link:
    path = EMBEDDED / url.removeprefix(PACKAGE)
    if path.is_file():
        return Link(status="alive", size=path.stat().st_size)
    return Link(status="dead", reason="is not in this package")


def _evidence(file: Checkpoint, pin: Pin | None) -> Literal["full", "published prefix", "first use", "none"]:
    if file.sha256 is not None:
        return "full"
    if file.sha256_prefix is not None:
        return "published prefix"
    return "none" if pin is None else "first use"


def _mirror(url: str, link: Link, seen: Mapping[str, Sighting], pin: Pin | None) -> Mirror:
    sighting = seen.get(url)
    mirror = Mirror(
        url=url,
        status=link.status,
        size=link.size,
        reason=link.reason,
        last_seen=None if sighting is None else sighting.seen,
    )
    if link.status == "alive" and pin is not None and link.size not in (None, pin.size):
        reason = f"offers {link.size:,} bytes instead of the {pin.size:,} pinned on {pin.pinned}"
        return replace(mirror, status="other file", reason=reason)
    return mirror


def _with_odd_sizes(mirrors: list[Mirror]) -> tuple[Mirror, ...]:
    """The mirrors; where those alive announce different sizes, one of them is another file, and each says so."""
    sizes = {mirror.size for mirror in mirrors if mirror.status == "alive" and mirror.size is not None}
    if len(sizes) < 2:
        return tuple(mirrors)
    note = f"mirrors of one file announce {' and '.join(f'{size:,}' for size in sorted(sizes))} bytes"
    return tuple(replace(mirror, reason=note) if mirror.status == "alive" else mirror for mirror in mirrors)
