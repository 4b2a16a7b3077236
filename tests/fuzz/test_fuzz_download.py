"""What servers send, broken: a file, or an error that names the address."""

from __future__ import annotations

import hashlib
import io
import queue
import shutil
import socket
import threading
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from fuzzing import fuzz
from requests import Response

from zoo.fetch.coco import Archive, fetch_coco
from zoo.fetch.download import download
from zoo.fetch.hashes import ExpectedFile
from zoo.fetch.names import file_name, host_of
from zoo.fetch.transport import Failure, RetryPolicy, body_length, check_answer, place_of_part, size_of_file, validator

HEADERS = {
    "Content-Length": "1000",
    "Content-Range": "bytes 10-1009/1010",
    "Content-Encoding": "identity",
    "Content-Type": "application/octet-stream",
    "ETag": '"v1"',
    "Last-Modified": "Sat, 01 Jan 2022 00:00:00 GMT",
    "Retry-After": "Sat, 01 Jan 2022 00:00:00 GMT",
}


WHOLE = 'HTTP/1.1 200 OK\r\nContent-Length: 40\r\nETag: "v1"\r\nContent-Type: a/b\r\n\r\n' + "weights " * 5
CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nweights \r\n5;a=b\r\n12345\r\n0\r\nX: y\r\n\r\n"


def test_headers() -> None:
    def read(data: bytes) -> None:
        text = data.decode("latin-1")
        response = Response()
        response.status_code = 200 if len(data) % 2 else 503
        response.reason = text[-20:]
        for name in HEADERS:
            _, found, rest = text.partition(f"{name}: ")
            if found:
                response.headers[name] = rest.partition("\n")[0]
        for look in (body_length, place_of_part, size_of_file, validator, lambda r: check_answer(r, RetryPolicy())):
            with suppress(Failure):
                look(response)

    fuzz("headers", read, ["\n".join(f"{name}: {value}" for name, value in HEADERS.items())])


def test_whole_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    answers: queue.Queue[bytes | None] = queue.Queue()
    policy = RetryPolicy(attempts=1, connect_timeout=5.0, read_timeout=5.0)

    def serve() -> None:
        while (answer := answers.get()) is not None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.recv(65536)
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/a.pth"

        def read(data: bytes) -> None:
            answers.put(data)
            shutil.rmtree(tmp_path / "in", ignore_errors=True)
            expect = ExpectedFile(max_size=10_000)
            download([url], tmp_path / "in" / "a.pth", expect=expect, label="a.pth", instead="stop", policy=policy)

        try:
            fuzz("answers", read, [WHOLE, CHUNKED])
        finally:
            answers.put(None)
            thread.join()


def test_addresses() -> None:
    def read(data: bytes) -> None:
        url = data.decode("utf-8", "surrogateescape")
        host_of(url)
        name = file_name(url, default="file")
        assert Path(name).name == name
        assert name not in (".", "..", "")
        assert len(name.encode()) <= 140

    fuzz(
        "addresses", read, ["https://user:secret@host:8080/zoo/faster_rcnn-047c8118.pth?a=b#c", "http://[::1]/a%20b.pt"]
    )


def test_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("val2017/", b"")
        archive.writestr("val2017/1.jpg", b"jpeg" * 100)
        archive.writestr("val2017/\u00e4.jpg", b"jpeg")

    def read(data: bytes) -> None:
        """The archive lies where a download would have put it, with the digest that it should have."""
        root = tmp_path / "in" / "coco"
        shutil.rmtree(root.parent, ignore_errors=True)
        place = root / ".archives" / "val2017.zip"
        place.parent.mkdir(parents=True)
        place.write_bytes(data)
        md5 = hashlib.md5(data).hexdigest()  # noqa: S324
        kind = Archive(path="val2017.zip", folder="val2017", md5=md5, size=len(data), unpacked=1000)
        try:
            fetch_coco("val2017", root=root, server="", archives={"val2017": (kind,)})
        finally:
            assert [path.name for path in tmp_path.iterdir()] == ["in"]
            assert [path.name for path in root.parent.iterdir()] == ["coco"]

    fuzz("archives", read, [buffer.getvalue()])
