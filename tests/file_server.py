"""A real HTTP server on this machine that can misbehave in every way that public ones do."""

from __future__ import annotations

import contextlib
import re
import threading
from collections import defaultdict, deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from zoo.fetch.transport import RetryPolicy

QUICK = RetryPolicy(attempts=3, first_wait=0.01, longest_wait=0.5, connect_timeout=2.0, read_timeout=2.0)
"""Patience for tests, in seconds."""


@dataclass
class Served:
    """One version of a file; `headers` may hold an ETag or a Last-Modified."""

    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"v1"'})


@dataclass
class Fault:
    """How one answer differs from a good one.

    Attributes:
        status, headers, body: answer this instead of the file.
        cut_after: close the connection after so many bytes of the body.
        announce: the Content-Length to claim; -1 for none at all.
        drip: send single bytes of the body, so many seconds apart, until the client has gone.
        hold_after: send so many bytes, then wait for `FileServer.release`.
        ignore_range: answer 200 with the whole file.
        ignore_if_range: answer 206 though the file is another one by now.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut_after: int | None = None
    announce: int | None = None
    drip: float | None = None
    hold_after: int | None = None
    ignore_range: bool = False
    ignore_if_range: bool = False


@dataclass
class Seen:
    """One request, and how many bytes of a body it was sent."""

    method: str
    path: str
    headers: dict[str, str]
    sent: int = 0


class FileServer:
    """Serves `files`; the n-th request for a path meets the n-th of its `faults`, later ones meet none."""

    def __init__(self) -> None:
        self.files: dict[str, Served] = {}
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.seen: list[Seen] = []
        self.release = threading.Event()
        handler = type("Handler", (_Handler,), {"files": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def serve(self, path: str, body: bytes, *faults: Fault, **headers: str) -> str:
        """Serve a file; returns its URL."""
        served = Served(body)
        if headers:
            served.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.files[path] = served
        self.faults[path] = deque(faults)
        return self.address + path

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: FileServer

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # killed clients do not say goodbye
            super().handle()

    def log_message(self, *args: Any) -> None:
        """Tests look at `FileServer.seen` instead."""

    def do_GET(self) -> None:
        seen = Seen(self.command, self.path, dict(self.headers))
        self.files.seen.append(seen)
        self.path = self.path.partition("?")[0]
        faults = self.files.faults[self.path]
        fault = faults.popleft() if faults else Fault()
        if fault.status is not None:
            self._answer(seen, fault, fault.status, fault.body, fault.headers)
        elif self.path in self.files.files:
            self._answer(seen, fault, *self._file(self.files.files[self.path], fault))
        else:
            self._answer(seen, fault, 404, b"nothing here", {})

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def _file(self, served: Served, fault: Fault) -> tuple[int, bytes, dict[str, str]]:
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        versions = {served.headers.get("ETag"), served.headers.get("Last-Modified")}
        same = self.headers.get("If-Range") in versions or fault.ignore_if_range
        if wanted is None or not same or fault.ignore_range:
            return 200, served.body, served.headers
        start, size = int(wanted[1]), len(served.body)
        if start >= size:
            return 416, b"", {"Content-Range": f"bytes */{size}"}
        return 206, served.body[start:], served.headers | {"Content-Range": f"bytes {start}-{size - 1}/{size}"}

    def _answer(self, seen: Seen, fault: Fault, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        announced = len(body) if fault.announce is None else fault.announce
        if announced >= 0 and "Content-Length" not in headers:
            self.send_header("Content-Length", str(announced))
        if announced != len(body) or fault.cut_after is not None:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        body = body if fault.cut_after is None else body[: fault.cut_after]
        hold = len(body) if fault.hold_after is None else fault.hold_after
        try:
            while fault.drip is not None and not self.files.release.wait(fault.drip):
                seen.sent += 1
                self.wfile.write(b"x")
            for part in (body[:hold], body[hold:]):
                seen.sent += len(part)  # before the client can have it all
                self.wfile.write(part)
                if fault.hold_after is not None:
                    self.files.release.wait(120)
        except ConnectionError:
            self.close_connection = True  # the client has heard enough
