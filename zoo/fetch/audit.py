"""Whether addresses still lead to their files: HEAD requests alone, so that nothing of a file is fetched.

All addresses are asked at the same time, of one host a few at once. What was seen alive, and when, is kept in the
cache (`links.json`): no committed result changes because a server was asked.
"""

from __future__ import annotations

import json
import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import BoundedSemaphore, Thread
from typing import TYPE_CHECKING, Literal

from zoo.errors import UsageError
from zoo.fetch.cache import cache_root, disk_errors, locked, progress
from zoo.fetch.names import host_of, server_of
from zoo.fetch.transport import (
    Deadline,
    Failure,
    RetryPolicy,
    announces_web_page,
    body_length,
    check_answer,
    head,
    open_session,
    status_line,
)
from zoo.files import read_json, write_atomically
from zoo.schema import build

if TYPE_CHECKING:
    from requests import Response, Session

log = logging.getLogger(__name__)

PATIENCE = RetryPolicy(
    attempts=2, first_wait=2.0, longest_wait=10.0, read_timeout=20.0, answer_timeout=30.0, total=600.0
)
"""Of an audit: one address takes a minute at most, all of them ten."""

PER_HOST = 4
"""Requests that one host gets at a time."""

AT_ONCE = 32
"""Requests at a time, over all hosts."""

_NO_HEAD = {405, 501}
"""Answers of servers that know the address and not the method."""

_GONE = {404, 410}
"""Answers of servers that have no such file."""

LinkStatus = Literal["alive", "dead", "web page", "refuses HEAD", "not asked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What became of one address.

    Attributes:
        status: "alive", where the server would send a file; "web page", where it would send a page for people;
            "refuses HEAD", where only a download would tell; "not asked", where the time was over; else "dead".
        size: bytes that the server announces; None where it does not.
        reason: why it is not alive, as the end of a sentence whose subject is the address.
        certain: whether a download would fail as well: its host is not reached or says nothing, or it says that
            there is no such file. Some servers refuse HEAD with the words of another refusal.
    """

    status: LinkStatus
    size: int | None = None
    reason: str | None = None
    certain: bool = False


def audit(
    urls: Iterable[str], policy: RetryPolicy = PATIENCE, *, label: str = "asking for every mirror"
) -> dict[str, Link]:
    """Ask for every address once, in parallel; shows a progress line.

    Of a host that is not reached, or says nothing, the first answer is that of its other addresses too.

    Args:
        urls: the addresses; one that occurs twice is asked for once.
        policy: patience; `total` is that of the whole audit.
        label: what the progress line says.
    """
    wanted = dict.fromkeys(urls)
    waiting: dict[str, SimpleQueue[str]] = defaultdict(SimpleQueue)
    for url in wanted:
        waiting[host_of(url)].put(url)
    silent: dict[str, Link] = {}
    answers: SimpleQueue[tuple[str, Link | Exception]] = SimpleQueue()
    deadline, slots = Deadline(policy), BoundedSemaphore(AT_ONCE)

    def ask_host(urls: SimpleQueue[str]) -> None:
        with open_session() as session:
            while True:
                try:
                    url = urls.get_nowait()
                except Empty:
                    return
                try:
                    with slots:
                        answers.put((url, _ask(session, url, policy, deadline, silent)))
                except Exception as error:  # raised where somebody sees it
                    answers.put((url, error))

    for host, queue in waiting.items():
        for _ in range(min(PER_HOST, queue.qsize())):
            # Daemons: after Ctrl-C nothing waits for a server.
            Thread(target=ask_host, args=(queue,), daemon=True, name=f"audit of {host}").start()
    found: dict[str, Link] = {}
    with progress(label, total=len(wanted), unit="links") as bar:
        for _ in wanted:
            url, answer = answers.get()
            if isinstance(answer, Exception):
                raise answer
            found[url] = answer
            bar.update()
    return {url: found[url] for url in wanted}


def _ask(session: Session, url: str, policy: RetryPolicy, deadline: Deadline, silent: dict[str, Link]) -> Link:
    failures, server = 0, server_of(url)
    while not deadline.passed:
        if server in silent:
            return silent[server]
        try:
            return _link(url, head(session, url, policy), policy)
        except Failure as failure:
            failures += 1
            if not failure.retry or failures >= policy.attempts:
                link = Link(status="dead", reason=str(failure), certain=failure.unreached)
                return silent.setdefault(server, link) if failure.unreached else link
            time.sleep(policy.wait(failures, failure.retry_after))
    return Link(status="not asked", reason=f"no answer was had before the {policy.total:g} s of an audit were over")


def _link(url: str, response: Response, policy: RetryPolicy) -> Link:
    """What an answer says. Raises Failure where it is no file."""
    if response.status_code in _NO_HEAD:
        return Link(status="refuses HEAD", reason=f"HTTP {response.status_code} to HEAD; only a download would tell")
    if response.status_code == 200 and announces_web_page(response):
        where = host_of(response.url)
        how = "is a web page" if response.url == url else f"redirects to a web page of {where}"
        return Link(status="web page", reason=how)
    if response.status_code in _GONE:
        return Link(status="dead", reason=status_line(response), certain=True)
    check_answer(response, policy)
    # Some servers announce nothing where they send nothing; an empty file is no checkpoint.
    return Link(status="alive", size=body_length(response) or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """When an address was last alive.

    Attributes:
        seen: UTC, ISO 8601.
        size: bytes that were announced then; None where they were not.
    """

    seen: str
    size: int | None = None


def last_seen(links: Mapping[str, Link], now: str) -> dict[str, Sighting]:
    """Note which addresses are alive, and tell when each was last so, by this audit or an earlier one.

    Args:
        links: what an audit found.
        now: time of the audit (UTC, ISO 8601).

    Raises:
        DownloadError: the cache cannot be written to.
    """
    path = cache_root() / "links.json"
    with disk_errors(path.parent, path.name), locked(path, path.name):
        known = _sightings(path)
        known |= {url: Sighting(seen=now, size=link.size) for url, link in links.items() if link.status == "alive"}
        write_atomically(path, json.dumps({url: asdict(known[url]) for url in sorted(known)}, indent=1) + "\n")
    return {url: known[url] for url in links if url in known}


def _sightings(path: Path) -> dict[str, Sighting]:
    try:
        return {url: build(Sighting, fields, "", "") for url, fields in read_json(path).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, UsageError):
        log.warning("warning: %s cannot be read: when addresses were seen before is not known", path)
        return {}
