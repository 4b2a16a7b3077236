"""One HTTP request for a file, with every way it can fail as one exception: try again, or go elsewhere."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from zoo.fetch.cache import CHUNK

if TYPE_CHECKING:
    from requests import RequestException, Response, Session

_OVERLOADED = {408, 425, 429}
"""Client errors that pass with time; all others mean that this address will not deliver."""


class Failure(Exception):  # noqa: N818 - it ends an attempt, not the program
    """An address did not deliver.

    Args:
        reason: why, as the end of a sentence whose subject is the address.
        retry: whether the same request may succeed a little later.
        retry_after: seconds that the server asks to wait before.
        wrong_file: whether it offers or brought another file than the expected one.
    """

    def __init__(
        self, reason: str, *, retry: bool = False, retry_after: float | None = None, wrong_file: bool = False
    ) -> None:
        super().__init__(reason)
        self.retry = retry
        self.retry_after = retry_after
        self.wrong_file = wrong_file


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How patient a download is. Times in seconds.

    Attributes:
        attempts: tries at one address that bring nothing new before the next address gets its turn.
        first_wait: wait before the second try; it doubles with every further one.
        longest_wait: limit of every wait; a server that asks for more (Retry-After) is left at once.
        connect_timeout: time in which a connection must be there.
        read_timeout: longest allowed silence within an answer.
    """

    attempts: int = 4
    first_wait: float = 1.0
    longest_wait: float = 60.0
    connect_timeout: float = 10.0
    read_timeout: float = 60.0

    def wait(self, failures: int, retry_after: float | None) -> float:
        """Seconds to wait after so many failures in a row."""
        backoff: float = self.first_wait * 2 ** (failures - 1)
        return min(max(backoff, retry_after or 0.0), self.longest_wait)


def get(session: Session, url: str, headers: Mapping[str, str], policy: RetryPolicy) -> Response:
    """The answer of a server, its body not yet read. Redirects and the environment's proxies are followed.

    Raises:
        Failure: there is no answer.
    """
    from requests import RequestException

    timeout = (policy.connect_timeout, policy.read_timeout)
    try:
        return session.get(url, headers=dict(headers), stream=True, timeout=timeout)
    except RequestException as error:
        raise _failure(error) from None


def body(response: Response) -> Iterator[bytes]:
    """The body of an answer, piece by piece.

    Raises:
        Failure: the connection broke.
    """
    from requests import RequestException

    try:
        yield from response.iter_content(CHUNK)
    except RequestException as error:
        raise _failure(error) from None


def check_answer(response: Response, policy: RetryPolicy) -> None:
    """Pass an answer that brings a file (200 or 206).

    Raises:
        Failure: it is an error, or a web page.
    """
    code = response.status_code
    if code in _OVERLOADED or code >= 500:
        retry_after = _seconds(response.headers.get("Retry-After"))
        if retry_after is not None and retry_after > policy.longest_wait:
            raise Failure(f"HTTP {code} {response.reason}, come back in {retry_after:.0f} s")
        raise Failure(f"HTTP {code} {response.reason}", retry=True, retry_after=retry_after)
    if code not in (200, 206):
        raise Failure(f"HTTP {code} {response.reason}")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml"):
        raise web_page()


def host_of(url: str) -> str:
    """Whom an address asks, for messages; the address itself where it names nobody."""
    return urlsplit(url).hostname or url


def web_page() -> Failure:
    """The failure of an address that answers with a page for people: a login, a consent, an apology."""
    return Failure("answers with an HTML page instead of the file")


def is_web_page(beginning: bytes) -> bool:
    """Whether a body is HTML, whatever its headers say."""
    return beginning[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html"))


def body_length(response: Response) -> int | None:
    """Bytes that the body will have when written; None where the server does not say."""
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() and not _compressed(response) else None


def validator(response: Response) -> str | None:
    """What names this version of the file: a strong ETag, else the date; None where there is neither."""
    if _compressed(response):  # the bytes we write are not those that the server counts
        return None
    etag = response.headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return etag
    return response.headers.get("Last-Modified")


def _compressed(response: Response) -> bool:
    return response.headers.get("Content-Encoding", "identity").lower() != "identity"


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After in seconds: it is a number of them, or a date."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        date = email.utils.parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (date.astimezone(UTC) - datetime.now(UTC)).total_seconds())


def _failure(error: RequestException) -> Failure:
    """What went wrong with a connection, in the shortest words that still say it."""
    import requests.exceptions as kinds

    if isinstance(error, kinds.SSLError):
        return Failure(f"no trusted TLS connection ({_innermost(error)})")
    if isinstance(error, kinds.TooManyRedirects):
        return Failure("redirects in a circle")
    if isinstance(error, kinds.Timeout):
        return Failure("does not answer in time", retry=True)
    if isinstance(error, kinds.ChunkedEncodingError | kinds.ContentDecodingError):
        return Failure(f"the connection broke ({_innermost(error)})", retry=True)
    if isinstance(error, kinds.ConnectionError):
        return Failure(f"no connection ({_innermost(error)})", retry=True)
    return Failure(f"not an address that can be fetched ({error})")


def _innermost(error: BaseException) -> str:
    """The message at the bottom of the layers that requests and urllib3 wrap around it."""
    inner: object = error
    while isinstance(inner, BaseException) and inner.args:
        below = getattr(inner, "reason", None) or inner.args[-1]
        if not isinstance(below, BaseException):
            break
        inner = below
    return re.sub(r".*\[Errno -?\d+\] ", "", str(inner).rpartition("): ")[2])
