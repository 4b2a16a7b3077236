"""One HTTP request for a file, with every way it can fail as one exception: try again, or go elsewhere."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException
from queue import Empty, Queue
from threading import Thread
from typing import TYPE_CHECKING, Literal
from urllib.parse import urljoin

from zoo.fetch.cache import CHUNK
from zoo.fetch.names import host_of, split_url

if TYPE_CHECKING:
    from requests import Response, Session

_OVERLOADED = {408, 425, 429}
"""Client errors that pass with time; all others mean that this address will not deliver."""

_REDIRECTS = {301, 302, 303, 307, 308}
_MOST_REDIRECTS = 20

_COMPRESSIONS = {"gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress"}
"""Encodings of HTTP that make other bytes of a file; what else servers write there ("utf-8") means nothing."""

LONGEST_VALIDATOR = 256
VALIDATOR = rf"[\x20-\x7e]{{1,{LONGEST_VALIDATOR}}}"
"""What an ETag or a date must look like to be sent back to a server; others name no version."""

_COUNT = re.compile(r"\d{1,18}", re.ASCII)


class Failure(Exception):  # noqa: N818 - it ends an attempt, not the program
    """An address did not deliver.

    Args:
        reason: why, as the end of a sentence whose subject is the address.
        retry: whether the same request may succeed a little later.
        retry_after: seconds that the server asks to wait before.
        wrong_file: whether it offers or brought another file than the expected one.
        slow: whether it brought what it brought too slowly.
        unreached: whether there was no connection to it, or no word from it.
    """

    def __init__(
        self,
        reason: str,
        *,
        retry: bool = False,
        retry_after: float | None = None,
        wrong_file: bool = False,
        slow: bool = False,
        unreached: bool = False,
    ) -> None:
        super().__init__(reason)
        self.retry = retry
        self.retry_after = retry_after
        self.wrong_file = wrong_file
        self.slow = slow
        self.unreached = unreached


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How patient a download is. Times in seconds.

    Attributes:
        attempts: tries at one address that bring next to nothing before the next address gets its turn.
        first_wait: wait before the second try; it doubles with every further one.
        longest_wait: limit of every wait; a server that asks for more (Retry-After) is left at once.
        connect_timeout: time in which a connection must be there.
        read_timeout: longest allowed silence within an answer.
        answer_timeout: time in which the headers of an answer must be complete, those of redirects included.
        least_rate: bytes a second that a body must bring; anything slower ends the attempt.
        rate_window: time over which that rate is a mean.
        total: time of a whole download, over all addresses; 20 GB at 1 MB/s take six hours.
        clock: seconds that only grow.
    """

    attempts: int = 4
    first_wait: float = 1.0
    longest_wait: float = 60.0
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    answer_timeout: float = 120.0
    least_rate: float = 10_000.0
    rate_window: float = 30.0
    total: float = 24 * 3600.0
    clock: Callable[[], float] = time.monotonic

    def wait(self, failures: int, retry_after: float | None) -> float:
        """Seconds to wait after so many failures in a row."""
        backoff: float = self.first_wait * 2 ** min(failures - 1, 60)
        return min(max(backoff, retry_after or 0.0), self.longest_wait)


class Deadline:
    """The time by which a whole download must be done; it starts now."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._end = policy.clock() + policy.total

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self._policy.clock() > self._end

    def check(self) -> None:
        """Raise Failure once it is over."""
        if self.passed:
            raise Failure(f"not done after {self._policy.total:g} s")


class _Pace:
    """Whether a body comes fast enough, window after window."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._begun, self._bytes = policy.clock(), 0

    def take(self, size: int) -> None:
        """Count bytes that came. Raises Failure where a window brought too few."""
        self._bytes += size
        elapsed = self._policy.clock() - self._begun
        if elapsed < self._policy.rate_window:
            return
        if self._bytes < self._policy.least_rate * elapsed:
            least = f"{self._policy.least_rate / 1000:g} kB/s"
            raise Failure(f"sends less than {least} for {self._policy.rate_window:g} s", retry=True, slow=True)
        self._begun, self._bytes = self._policy.clock(), 0


def open_session() -> Session:
    """A session that leaves redirects to `get`: requests would read their bodies, however long."""
    from requests import Session

    class DirectSession(Session):
        def get_redirect_target(self, resp: Response) -> str | None:  # noqa: ARG002 - whatever it says
            return None

    return DirectSession()


@contextmanager
def get(session: Session, url: str, headers: Mapping[str, str], policy: RetryPolicy) -> Iterator[Response]:
    """The answer of a server, its body not yet read. Redirects and the environment's proxies are followed.

    Args:
        session: one of `open_session`.
        url: address of the file.
        headers: of the request.
        policy: patience.

    Raises:
        Failure: there is no answer, or only redirects.
    """
    with _answer(session, "GET", url, headers, policy) as response:
        yield response


def head(session: Session, url: str, policy: RetryPolicy) -> Response:
    """What a server says of a file without sending it: the status and headers behind all redirects.

    Raises:
        Failure: as `get` does.
    """
    with _answer(session, "HEAD", url, {"Accept-Encoding": "identity"}, policy) as response:
        return response


@contextmanager
def _answer(
    session: Session, method: Literal["GET", "HEAD"], url: str, headers: Mapping[str, str], policy: RetryPolicy
) -> Iterator[Response]:
    end = policy.clock() + policy.answer_timeout
    for _ in range(_MOST_REDIRECTS + 1):
        response = _request(session, method, url, headers, policy, end)
        with response:
            if response.status_code not in _REDIRECTS or "Location" not in response.headers:
                yield response
                return
            url = _redirect_target(url, response.headers["Location"])
    raise Failure("redirects in a circle, or without end")


def _request(
    session: Session, method: str, url: str, headers: Mapping[str, str], policy: RetryPolicy, end: float
) -> Response:
    """One request, redirects not followed."""
    answer: Queue[Response | Exception] = Queue()

    def ask() -> None:
        try:
            timeout = (policy.connect_timeout, policy.read_timeout)
            answer.put(session.request(method, url, headers=dict(headers), stream=True, timeout=timeout))
        except Exception as error:
            answer.put(error)

    # The time limits of sockets begin anew with every byte: a server that sends its headers one by one is waited for
    # in another thread, which then ends with the connection or with the program.
    Thread(target=ask, daemon=True, name=f"request to {host_of(url)}").start()
    try:
        got = answer.get(timeout=max(0.0, end - policy.clock()))
    except Empty:
        raise Failure("does not answer in time", retry=True, unreached=True) from None
    if isinstance(got, Exception):
        raise _failure(got) from None
    return got


def _redirect_target(url: str, location: str) -> str:
    """The address that a redirect leads to.

    Raises:
        Failure: it leads out of the web.
    """
    with suppress(UnicodeError):  # as browsers read it: UTF-8, which http.client takes for Latin-1
        location = location.encode("latin-1").decode("utf-8")
    try:
        target = urljoin(url, location)
    except ValueError:
        target = ""
    parts = split_url(target)
    if parts is None or parts.scheme.lower() not in ("http", "https"):
        raise Failure(f"redirects to {printable(location)}, which is no address of the web")
    return target


def body(response: Response, policy: RetryPolicy, deadline: Deadline) -> Iterator[bytes]:
    """The body of an answer, piece by piece; the first piece has 512 bytes at least, where the body has.

    Raises:
        Failure: the connection broke, or is too slow.
    """
    from urllib3.exceptions import HTTPError

    pace = _Pace(policy)
    first: bytes | None = b""
    try:
        # Not iter_content: it waits until a piece is full, however slowly, and it unpacks.
        while piece := response.raw.read1(CHUNK, decode_content=False):
            pace.take(len(piece))
            deadline.check()
            if first is not None:
                first += piece
                if len(first) < 512:
                    continue
                piece, first = first, None
            yield piece
    except (HTTPError, HTTPException, OSError, ValueError) as error:
        raise _failure(error) from None
    if first:
        yield first


def check_answer(response: Response, policy: RetryPolicy) -> None:
    """Pass an answer that brings a file (200 or 206).

    Raises:
        Failure: it is an error, or a web page.
    """
    code, status = response.status_code, status_line(response)
    if code in _OVERLOADED or code >= 500:
        retry_after = _seconds(response.headers.get("Retry-After"))
        if retry_after is not None and retry_after > policy.longest_wait:
            raise Failure(f"{status}, come back in {retry_after:.0f} s")
        raise Failure(status, retry=True, retry_after=retry_after)
    if code not in (200, 206):
        raise Failure(status)
    if announces_web_page(response):
        raise web_page()
    encodings = {name.strip().lower() for name in response.headers.get("Content-Encoding", "").split(",")}
    if encodings & _COMPRESSIONS:
        # We have asked for the file as it is. Some kilobytes may unpack to all the room that a disk has.
        raise Failure(f"sends the file compressed ({', '.join(sorted(encodings & _COMPRESSIONS))}), not as it is")


def status_line(response: Response) -> str:
    """The status of an answer, in the server's words: "HTTP 404 Not Found"."""
    return f"HTTP {response.status_code} {printable(response.reason or '')}".rstrip()


def announces_web_page(response: Response) -> bool:
    """Whether the headers of an answer say that it is HTML."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind in ("text/html", "application/xhtml+xml")


def web_page() -> Failure:
    """The failure of an address that answers with a page for people: a login, a consent, an apology."""
    return Failure("answers with an HTML page instead of the file")


def is_web_page(beginning: bytes) -> bool:
    """Whether a body is HTML, whatever its headers say."""
    return beginning[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html"))


def body_length(response: Response) -> int | None:
    """Bytes that the body will have; None where the server does not say.

    Raises:
        Failure: what it says is no number.
    """
    announced = response.headers.get("Content-Length")
    if announced is None or "chunked" in response.headers.get("Transfer-Encoding", "").lower():
        return None
    lengths = {length.strip() for length in announced.split(",")}  # the header may be there twice
    if len(lengths) > 1 or not _COUNT.fullmatch(length := lengths.pop()):
        raise Failure(f"announces a length that is no number: {printable(announced)!r}")
    return int(length)


def place_of_part(response: Response) -> tuple[int, int | None] | None:
    """Where the body of a 206 begins in the file, and the size of the file where it is known; None without either."""
    place = re.fullmatch(
        rf"bytes ({_COUNT.pattern})-{_COUNT.pattern}/(?:({_COUNT.pattern})|\*)",
        response.headers.get("Content-Range", ""),
        re.ASCII,
    )
    if place is None:
        return None
    return int(place[1]), int(place[2]) if place[2] else None


def size_of_file(response: Response) -> int | None:
    """The size of the file as a 416 states it; None where it does not."""
    size = re.fullmatch(rf"bytes \*/({_COUNT.pattern})", response.headers.get("Content-Range", ""), re.ASCII)
    return int(size[1]) if size is not None else None


def validator(response: Response) -> str | None:
    """What names this version of the file: a strong ETag, else the date; None where there is neither."""
    for version in (response.headers.get("ETag"), response.headers.get("Last-Modified")):
        if version and not version.startswith("W/") and re.fullmatch(VALIDATOR, version):
            return version
    return None


def printable(text: str | bytes) -> str:
    """A text of a server's as one short line that does nothing to a terminal."""
    text = text.decode("latin-1") if isinstance(text, bytes) else text
    text = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[:200])
    return text if len(text) < 200 else f"{text}..."


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After in seconds: it is a number of them, or a date."""
    if retry_after is None:
        return None
    if re.fullmatch(r"\s*\d+\s*", retry_after, re.ASCII):
        return float(retry_after)
    try:
        date = email.utils.parsedate_to_datetime(retry_after)
        return max(0.0, (date.astimezone(UTC) - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):  # no date, or one at an end of the calendar
        return None


def _failure(error: Exception) -> Failure:
    """What went wrong with a connection, in the shortest words that still say it; other errors are raised."""
    import requests.exceptions as kinds
    import urllib3.exceptions as below

    inner = printable(_innermost(error))
    if isinstance(error, kinds.SSLError):
        return Failure(f"no trusted TLS connection ({inner})")
    if isinstance(error, kinds.Timeout | below.ReadTimeoutError):
        unreached = isinstance(error, kinds.Timeout)  # the other one is that of a body
        return Failure("does not answer in time", retry=True, unreached=unreached)
    if isinstance(error, kinds.ConnectionError):
        return Failure(f"no connection ({inner})", retry=True, unreached=True)
    if isinstance(error, below.HTTPError | HTTPException):
        return Failure(f"the connection broke ({inner})", retry=True)
    if isinstance(error, kinds.InvalidHeader):
        return Failure(f"sends headers that cannot be read ({inner})")
    if isinstance(error, kinds.RequestException | ValueError):
        return Failure(f"not an address that can be fetched ({printable(str(error))})")
    if isinstance(error, OSError):  # such as a list of trusted certificates that is not there
        return Failure(f"no connection ({printable(str(error))})")
    raise error


def _innermost(error: BaseException) -> str:
    """The message at the bottom of the layers that requests and urllib3 wrap around it."""
    inner: object = error
    while isinstance(inner, BaseException) and inner.args:
        below = getattr(inner, "reason", None) or inner.args[-1]
        if not isinstance(below, BaseException):
            break
        inner = below
    text = str(inner).rpartition("): ")[2]
    bare = re.sub(r".*\[Errno -?\d+\] ", "", text)
    return bare if bare == text else bare.removesuffix(")")  # urllib3 puts such an error into brackets of its own
