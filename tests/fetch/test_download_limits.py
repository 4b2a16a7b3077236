"""Servers without measure: endless, compressed, slow, or in words that nobody can read."""

from __future__ import annotations

import errno
import gc
import gzip
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from file_server import Fault, FileServer

from zoo.errors import DownloadError, HashMismatchError
from zoo.fetch.download import download
from zoo.fetch.hashes import ExpectedFile
from zoo.fetch.transport import RetryPolicy

BODY = bytes(range(256)) * 400
ONCE = RetryPolicy(attempts=1, connect_timeout=2.0, read_timeout=2.0)
ENDLESS = Fault(status=200, announce=-1, body=bytes(300_000))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FileServer() as server:
        yield server


def fetch(*urls: str, to: Path, expect: ExpectedFile | None = None, policy: RetryPolicy = ONCE) -> bytes:
    expect = expect or ExpectedFile()
    return download(urls, to, expect=expect, label="a.pth", instead="stop", policy=policy).path.read_bytes()


def refused(url: str, tmp_path: Path, *, expect: ExpectedFile | None = None, policy: RetryPolicy = ONCE) -> str:
    """The reason why nothing came from an address."""
    with pytest.raises((DownloadError, HashMismatchError)) as caught:
        fetch(url, to=tmp_path / "a.pth", expect=expect, policy=policy)
    assert not (tmp_path / "a.pth").exists()
    title, _, reason = caught.value.message.partition("\n")
    assert title in ("a.pth: could not be downloaded", "a.pth: not the file it should be")
    return reason.strip().removeprefix(f"{url}: ")


def test_a_stream_ends_at_the_size_of_the_file(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("/a.pth", b"", ENDLESS)
    reason = refused(url, tmp_path, expect=ExpectedFile(size=1000))
    assert reason == "does not end after 1,000 bytes"
    assert not (tmp_path / "a.pth.part").exists()


def test_a_stream_of_unknown_size_ends_at_the_ceiling(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("/a.pth", b"", ENDLESS)
    assert refused(url, tmp_path, expect=ExpectedFile(max_size=200_000)) == "does not end after 200,000 bytes"


def test_a_size_over_the_ceiling_is_not_even_begun(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("/a.pth", b"", Fault(status=200, announce=10**15))
    assert refused(url, tmp_path).startswith("offers 1,000,000,000,000,000 bytes, more than the 8,589,934,592")


@pytest.mark.parametrize("encoding", ["gzip", "GZip", "deflate", "br", "identity, gzip"])
def test_nothing_is_unpacked(server: FileServer, tmp_path: Path, encoding: str) -> None:
    url = server.serve("/a.pth", gzip.compress(bytes(10**6)), Content_Encoding=encoding)
    assert refused(url, tmp_path).startswith("sends the file compressed (")
    assert server.seen[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("encoding", ["identity", "utf-8", ""])
def test_encodings_that_change_no_byte(server: FileServer, tmp_path: Path, encoding: str) -> None:
    assert fetch(server.serve("/a.pth", BODY, Content_Encoding=encoding), to=tmp_path / "a.pth") == BODY


def test_a_drip_is_left_for_the_next_mirror(server: FileServer, tmp_path: Path) -> None:
    drip = server.serve("/drip.pth", b"", *[Fault(status=200, announce=10**6, drip=0.01)] * 2)
    policy = RetryPolicy(attempts=2, first_wait=0.0, rate_window=0.1)
    assert fetch(drip, server.serve("/a.pth", BODY), to=tmp_path / "a.pth", policy=policy) == BODY
    assert [seen.path for seen in server.seen] == ["/drip.pth", "/drip.pth", "/a.pth"]
    drip = server.serve("/drip.pth", b"", Fault(status=200, announce=10**6, drip=0.01))
    reason = refused(drip, tmp_path / "other", policy=RetryPolicy(attempts=1, rate_window=0.1))
    assert reason == "sends less than 10 kB/s for 0.1 s"


def test_a_download_has_an_end_in_time(server: FileServer, tmp_path: Path) -> None:
    """Fast enough in every window, and yet too long; the mirrors behind get no turn."""
    seconds = iter(range(0, 10**6, 10))
    policy = RetryPolicy(attempts=9, total=60.0, answer_timeout=1000.0, clock=lambda: float(next(seconds)))
    url = server.serve("/a.pth", bytes(3_000_000))
    assert refused(url, tmp_path, policy=policy) == "not done after 60 s"
    assert (tmp_path / "a.pth.part").stat().st_size > 0


def test_attempts_that_bring_next_to_nothing_count(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("/a.pth", BODY, *[Fault(cut_after=1000 * cut) for cut in range(1, 99)], X_Nothing="1")
    refused(url, tmp_path, policy=RetryPolicy(attempts=3, first_wait=0.0))
    assert len(server.seen) == 3


def raw_server(answer: bytes, gap: float = 0.0) -> Iterator[str]:
    """A server that answers every request with the same bytes; with a gap one by one, until the client has gone."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def serve() -> None:
            while not done.is_set():
                connection, _ = listener.accept()
                with connection:
                    try:
                        connection.recv(65536)
                        for piece in [answer] if not gap else (answer[i : i + 1] for i in range(len(answer))):
                            connection.sendall(piece)
                            done.wait(gap)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/a.pth"
        finally:
            done.set()
            socket.create_connection(listener.getsockname()).close()
            thread.join()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # of the request that nobody waits for
def test_headers_that_drip_are_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for url in raw_server(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000, gap=0.02):
        reason = refused(url, tmp_path, policy=RetryPolicy(attempts=1, answer_timeout=0.2))
        assert reason == "does not answer in time"
    for thread in threading.enumerate():  # it ends with the connection, and here, not in the test that comes next
        if thread.name.startswith("request to"):
            thread.join(timeout=10)
    gc.collect()


@pytest.mark.parametrize("length", ["abc", "-1", "1e3", "9" * 30, "\u0661", "5, 6", "0x10", ""])
def test_lengths_that_are_no_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: str) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for url in raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: " + length.encode() + b"\r\n\r\nbody"):
        assert "announces a length" in (reason := refused(url, tmp_path)) or "headers that cannot be read" in reason


@pytest.mark.parametrize(
    "place", ["", "bytes", "bytes a-b/c", f"bytes 0-9/{'9' * 5000}", "bytes -5-3/9", "lines 0-1/2"]
)
def test_a_place_that_cannot_be_read_begins_anew(server: FileServer, tmp_path: Path, place: str) -> None:
    """A part is there already, and the answer does not say what it continues."""
    partial = Fault(status=206, headers={"Content-Range": place, "ETag": '"v1"'}, body=BODY)
    url = server.serve("/a.pth", BODY, partial)
    (tmp_path / "a.pth.part").write_bytes(BODY[:1000])
    (tmp_path / "a.pth.part.json").write_text(f'{{"url": "{url}", "version": "\\"v1\\""}}')
    policy = RetryPolicy(attempts=2, first_wait=0.0)
    assert fetch(url, to=tmp_path / "a.pth", policy=policy) == BODY
    assert "Range" not in server.seen[1].headers


@pytest.mark.parametrize("version", ["\u00e4" * 9, "x" * 5000])
def test_versions_that_cannot_be_sent_back_name_none(server: FileServer, tmp_path: Path, version: str) -> None:
    url = server.serve("/a.pth", BODY, Fault(cut_after=70_000), ETag=version)
    assert fetch(url, to=tmp_path / "a.pth", policy=RetryPolicy(attempts=2, first_wait=0.0)) == BODY
    assert "Range" not in server.seen[1].headers


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://host:port/a", "http:// /a.pth", "", "a.pth", "file:///etc/passwd"]
)
def test_addresses_that_are_none(tmp_path: Path, url: str) -> None:
    assert refused(url, tmp_path).startswith("not an address that can be fetched (")


def test_an_address_with_blanks(server: FileServer, tmp_path: Path) -> None:
    server.serve("/a%20b.pth", BODY)
    assert fetch(f"{server.address}/a b.pth", to=tmp_path / "a.pth") == BODY


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://host/a", "http://[::1", "data:,x", "//[", "\x1b[2J:"])
def test_redirects_out_of_the_web(server: FileServer, tmp_path: Path, target: str) -> None:
    url = server.serve("/a.pth", b"", Fault(status=302, headers={"Location": target}))
    reason = refused(url, tmp_path)
    assert "is no address of the web" in reason or "HTTP 404" in reason
    assert "\x1b" not in reason


def test_redirects_without_end(server: FileServer, tmp_path: Path) -> None:
    """Each to another address, so no circle is ever closed."""
    for i in range(60):
        server.serve(f"/{i}", b"", Fault(status=302, headers={"Location": f"/{i + 1}"}))
    assert refused(f"{server.address}/0", tmp_path) == "redirects in a circle, or without end"
    assert len(server.seen) < 30


def test_the_body_of_a_redirect_is_not_read(server: FileServer, tmp_path: Path) -> None:
    target = server.serve("/b.pth", BODY)
    endless = Fault(status=302, headers={"Location": target}, body=b"x", announce=10**12, drip=0.01)
    assert fetch(server.serve("/a.pth", b"", endless), to=tmp_path / "a.pth") == BODY


def test_what_a_server_calls_a_file_is_not_asked_for(server: FileServer, tmp_path: Path) -> None:
    name = 'attachment; filename="../../outside.pth"'
    fetch(server.serve("/a.pth", BODY, Content_Disposition=name), to=tmp_path / "in" / "a.pth")
    assert sorted(path.name for path in tmp_path.rglob("*.pth")) == ["a.pth"]


def test_a_cache_that_cannot_be_written(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system", "/cache")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(DownloadError, match=r"^a\.pth: cannot use /cache: Read-only file system$") as caught:
        fetch(server.serve("/a.pth", BODY), to=tmp_path / "new" / "a.pth")
    assert "ZOO_CACHE=DIR" in caught.value.next_step
