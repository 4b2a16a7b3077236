"""One file over HTTP: mirrors, resume, retries, hash, and an atomic arrival.

While it is on its way a file is `<name>.part`, with `<name>.part.json` saying which version of
which address it is a part of. Only the whole file, with the hash it should have, gets its name.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from zoo.errors import DownloadError, HashMismatchError, UsageError
from zoo.fetch.cache import CHUNK, disk_errors, locked, progress
from zoo.fetch.hashes import Digest, ExpectedFile, Hasher, feed_file, hash_file
from zoo.fetch.names import host_of
from zoo.fetch.transport import (
    VALIDATOR,
    Deadline,
    Failure,
    RetryPolicy,
    body,
    body_length,
    check_answer,
    get,
    is_web_page,
    open_session,
    place_of_part,
    size_of_file,
    validator,
    web_page,
)
from zoo.files import read_json, write_atomically
from zoo.schema import Pattern, build

if TYPE_CHECKING:
    from requests import Response, Session

log = logging.getLogger(__name__)

out_of_reach: set[str] = set()
"""Hosts that no try for an earlier file reached; until one answers, a try for each further file is enough (a sweep)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A file that has arrived.

    Attributes:
        path: the file.
        url: the mirror that delivered it; None where another process had just put it there.
        digest: digest of the whole file; with md5 only where one was expected.
    """

    path: Path
    url: str | None
    digest: Digest


def download(
    urls: Sequence[str],
    destination: Path,
    *,
    expect: ExpectedFile,
    label: str,
    instead: str,
    policy: RetryPolicy | None = None,
) -> Download:
    """Fetch a file from the first mirror that delivers it, continuing what an earlier call left.

    A body that has neither an announced length nor an expected hash cannot be told from a cut one;
    everything else that can go wrong on the way is noticed.

    Args:
        urls: mirrors of one and the same file, in order of preference.
        destination: where the file shall be.
        expect: what is known of the file; one that differs never gets the name `destination`.
        label: what the file is called in messages and in the progress bar.
        instead: what the user can do without the download, as an imperative clause.
        policy: patience; the default one suits the public internet.

    Raises:
        DownloadError: no mirror delivered (the message lists each with its reason), or the disk refuses.
        HashMismatchError: a mirror delivered another file than expected; it is kept as `<name>.rejected`.
    """
    policy = policy or RetryPolicy()
    deadline = Deadline(policy)
    failures: list[tuple[str, Failure]] = []
    md5 = expect.md5 is not None
    with disk_errors(destination.parent, label), locked(destination, label):
        if destination.is_file():  # the process that held the lock before has fetched it
            digest = hash_file(destination, md5=md5)
            if expect.mismatch(digest) is None:
                return Download(path=destination, url=None, digest=digest)
        with open_session() as session:
            transfer = _Transfer(session, _Part(destination, md5=md5), expect, label, policy, deadline)
            for url in urls:
                if failures and deadline.passed:
                    break
                try:
                    return Download(path=destination, url=url, digest=transfer.fetch(url))
                except Failure as failure:
                    failures.append((url, failure))
                    if len(failures) < len(urls) and not deadline.passed:
                        log.info("%s: %s: %s; asking the next address", label, host_of(url), failure)
    out_of_reach.update(host_of(url) for url, failure in failures if failure.unreached)
    raise _nobody_delivered(label, failures, expect, instead)


def _nobody_delivered(
    label: str, failures: Sequence[tuple[str, Failure]], expect: ExpectedFile, instead: str
) -> DownloadError | HashMismatchError:
    alike: dict[tuple[str, str], list[str]] = {}
    for url, failure in failures:
        alike.setdefault((host_of(url), str(failure)), []).append(url)
    reasons = "".join(
        f"\n  {urls[0] if len(urls) == 1 else f'{len(urls)} addresses of {host}'}: {reason}"
        for (host, reason), urls in alike.items()
    )
    if not any(failure.wrong_file for _, failure in failures):
        return DownloadError(f"{label}: could not be downloaded{reasons}", next_step=f"check the network, or {instead}")
    message = f"{label}: not the file it should be{reasons}"
    if expect.pinned_on is None:
        return HashMismatchError(message, next_step=f"look at what came, or {instead}")
    repin = "if the publisher replaced the file on purpose, remove its pin from checkpoints.lock"
    return HashMismatchError(message, next_step=f"{repin}; else {instead}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Origin:
    """Where a part comes from: the address, and the validator (ETag or date) that names its version there."""

    url: str
    version: Annotated[str, Pattern(VALIDATOR, "an ETag or a date")]


class _Part:
    """The part of a file that has arrived, its running digest, and the version of the address it came from."""

    def __init__(self, destination: Path, *, md5: bool) -> None:
        self.destination = destination
        self.path = destination.with_name(destination.name + ".part")
        self._origin = destination.with_name(destination.name + ".part.json")
        self._md5 = md5
        self._hasher: Hasher | None = None

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def hasher(self) -> Hasher:
        """Digests the part; what an earlier process left is read once, when first asked for."""
        if self._hasher is None:
            self._hasher = Hasher(md5=self._md5)
            if self.path.is_file():
                feed_file(self._hasher, self.path)
        return self._hasher

    def version(self, url: str) -> str | None:
        """The validator (ETag or date) to continue with from an address; None: begin anew."""
        try:
            origin = build(_Origin, read_json(self._origin), "", "")
        except (OSError, ValueError, UsageError):  # nobody knows what the part is a part of
            return None
        return origin.version if origin.url == url and self.size else None

    def begin(self, url: str, version: str | None) -> None:
        """Forget what was there; what comes next is this version of this address."""
        self.discard()
        if version is not None:
            write_atomically(self._origin, json.dumps(asdict(_Origin(url=url, version=version))))

    def discard(self) -> None:
        """Forget what was there."""
        # The origin goes first: a part without one is never continued; the reverse could glue two files.
        self._origin.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        self._hasher = None

    def become(self, target: Path) -> None:
        """Give the whole file its name."""
        self.path.replace(target)
        self.discard()


class _Transfer:
    """The attempts to get one file."""

    def __init__(
        self,
        session: Session,
        part: _Part,
        expect: ExpectedFile,
        label: str,
        policy: RetryPolicy,
        deadline: Deadline,
    ) -> None:
        self.session = session
        self.part = part
        self.expect = expect
        self.label = label
        self.policy = policy
        self.deadline = deadline

    def fetch(self, url: str) -> Digest:
        """Try one mirror until it delivers, refuses, or fails `policy.attempts` times without progress.

        Raises:
            Failure: the next mirror's turn.
        """
        failures, farthest = 0, self.part.size
        while True:
            try:
                return self._attempt(url)
            except Failure as failure:
                # A long file over a bad line may be cut many times: only attempts that add next to nothing count.
                progressed = self.part.size >= farthest + CHUNK and not failure.slow
                failures = 1 if progressed else failures + 1
                farthest = max(farthest, self.part.size)
                if not failure.retry:
                    raise
                if failures >= self.policy.attempts or (failure.unreached and host_of(url) in out_of_reach):
                    told = f"{failure}, {failures} times" if failures > 1 else str(failure)
                    raise Failure(told, wrong_file=failure.wrong_file, unreached=failure.unreached) from None
                self.deadline.check()
                wait = self.policy.wait(failures, failure.retry_after)
                if failures == 1:
                    # Once is enough: how often it was tried says the error, where there is one.
                    log.info("%s: %s: %s; trying again in %.1f s", self.label, host_of(url), failure, wait)
                time.sleep(wait)

    def _attempt(self, url: str) -> Digest:
        """One request, and the file if it brings (the rest of) it."""
        version = self.part.version(url)
        headers = {"Accept-Encoding": "identity"}
        offset = 0
        if version is not None:
            offset = self.part.hasher.digest().size  # hashed before the request: a server does not wait for that
            headers |= {"Range": f"bytes={offset}-", "If-Range": version}
        with get(self.session, url, headers, self.policy) as response:
            out_of_reach.discard(host_of(url))
            if response.status_code == 416 and offset:
                self._check_complete(response, offset)
            else:
                check_answer(response, self.policy)
                offset, total = self._place(response, url, offset, version)
                self._receive(response, offset, total)
        return self._accept(resumed=offset > 0)

    def _check_complete(self, response: Response, offset: int) -> None:
        """416: there is nothing after what we have. Either that is all of it, or it is another file by now."""
        if size_of_file(response) != offset:
            self.part.discard()
            raise Failure("the file there has become shorter", retry=True)

    def _place(self, response: Response, url: str, offset: int, version: str | None) -> tuple[int, int | None]:
        """Where in the file the body of an answer belongs, and the length of the file where it is known."""
        now = validator(response)
        length = body_length(response)
        if response.status_code == 206:
            place = place_of_part(response)
            # Some servers ignore If-Range: without this, two versions of a file would be glued together.
            if place is None or place[0] != offset or now not in (None, version):
                self.part.discard()
                raise Failure("the file there has changed since its first part came", retry=True)
            total = place[1] if place[1] is not None or length is None else offset + length
        else:
            offset, total = 0, length
        if total is not None and self.expect.size not in (None, total):
            raise Failure(self.expect.wrong_size(total), wrong_file=True)
        if total is not None and total > self.expect.limit:
            raise Failure(f"offers {total:,} bytes, more than the {self.expect.limit:,} that such a file may have")
        if response.status_code != 206:
            self.part.begin(url, now)
        return offset, total

    def _receive(self, response: Response, offset: int, total: int | None) -> None:
        """Write a body behind the first `offset` bytes, hashing it on the way."""
        hasher, done = self.part.hasher, offset
        limit = self.expect.limit if total is None else total
        with self.part.path.open("ab") as file, progress(self.label, total=total, done=offset) as bar:
            for chunk in body(response, self.policy, self.deadline):
                if done == 0 and is_web_page(chunk):
                    raise web_page()
                done += len(chunk)
                if done > limit:
                    self.part.discard()
                    raise Failure(f"does not end after {limit:,} bytes", wrong_file=self.expect.size == limit)
                file.write(chunk)
                hasher.update(chunk)
                bar.update(len(chunk))
        if total is not None and done < total:
            raise Failure(f"cut off after {done:,} of {total:,} bytes", retry=True)

    def _accept(self, *, resumed: bool) -> Digest:
        """Give a file that fits its name, and move one that does not out of the way."""
        digest = self.part.hasher.digest()
        mismatch = self.expect.mismatch(digest)
        destination = self.part.destination
        if mismatch is None:
            self.part.become(destination)
            return digest
        if resumed:  # the part from before may be what is wrong: once more from the beginning
            self.part.discard()
            raise Failure(mismatch, retry=True, wrong_file=True)
        rejected = destination.with_name(destination.name + ".rejected")
        self.part.become(rejected)
        raise Failure(f"{mismatch} (kept as {rejected})", wrong_file=True)
