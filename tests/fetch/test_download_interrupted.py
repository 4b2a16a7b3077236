"""Downloads that end before they are done: a full disk, Ctrl-C, a kill, and another process at the same file."""

from __future__ import annotations

import errno
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from file_server import QUICK, Fault, FileServer

from zoo.errors import DownloadError
from zoo.fetch.download import Download, download
from zoo.fetch.hashes import ExpectedFile

BODY = random.Random(0).randbytes(700_000)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FileServer() as server:
        yield server


def fetch(url: str, to: Path) -> Download:
    return download([url], to, expect=ExpectedFile(), label=to.name, instead="", policy=QUICK)


class FullDisk:
    """A file on a disk that has room for `room` bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self._file, self._room = file, room

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, chunk: bytes) -> int:
        self._room -= len(chunk)
        if self._room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return int(self._file.write(chunk))


def test_a_full_disk_keeps_the_part(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = server.serve("/a.pth", BODY)
    real: Callable[..., Any] = Path.open

    def opened(path: Path, mode: str = "r", **options: Any) -> Any:
        file = real(path, mode, **options)
        return FullDisk(file, 300_000) if mode == "ab" else file

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", opened)
        with pytest.raises(DownloadError, match=r"a\.pth: the disk of .* is full") as caught:
            fetch(url, to=tmp_path / "a.pth")
    assert "free some space" in caught.value.next_step
    assert "ZOO_CACHE=DIR" in caught.value.next_step
    part = (tmp_path / "a.pth.part").stat().st_size
    assert 200_000 < part <= 300_000
    assert fetch(url, to=tmp_path / "a.pth").path.read_bytes() == BODY
    assert server.seen[-1].sent == len(BODY) - part


def test_a_folder_that_cannot_be_made_is_named(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(DownloadError, match=r"a\.pth: cannot use .*cache") as caught:
        fetch(server.serve("/a.pth", BODY), to=tmp_path / "cache" / "a.pth")
    assert "ZOO_CACHE=DIR" in caught.value.next_step


SCRIPT = """
import logging, signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is started with Ctrl-C ignored
from zoo.fetch.download import download
from zoo.fetch.hashes import ExpectedFile
logging.basicConfig(level=logging.INFO, format="%(message)s")
download([sys.argv[1]], Path(sys.argv[2]), expect=ExpectedFile(), label="a.pth", instead="")
"""


def process(url: str, to: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SCRIPT, url, str(to)], stderr=subprocess.PIPE, text=True)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_processes_fetch_a_file_once(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("/a.pth", BODY, Fault(hold_after=100_000))
    with process(url, tmp_path / "a.pth") as first:
        wait_until(lambda: bool(server.seen))
        with process(url, tmp_path / "a.pth") as second:
            assert second.stderr is not None
            assert second.stderr.readline() == "a.pth: waiting for another process that is at it\n"
            server.release.set()
            assert second.wait(120) == 0
        assert first.wait(120) == 0
    assert len(server.seen) == 1
    assert (tmp_path / "a.pth").read_bytes() == BODY


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_download_is_continued(server: FileServer, tmp_path: Path, sent: signal.Signals) -> None:
    url = server.serve("/a.pth", BODY, Fault(hold_after=500_000))
    part = tmp_path / "a.pth.part"
    with process(url, tmp_path / "a.pth") as running:
        wait_until(lambda: part.is_file() and part.stat().st_size >= 400_000)
        running.send_signal(sent)
        running.communicate(timeout=120)
    assert running.returncode == -sent
    size = part.stat().st_size
    assert fetch(url, to=tmp_path / "a.pth").path.read_bytes() == BODY
    assert server.seen[-1].headers["Range"] == f"bytes={size}-"
    assert server.seen[-1].sent == len(BODY) - size


def test_importing_is_cheap() -> None:
    heavy = "requests", "urllib3", "torch", "pandas", "hydra", "numpy"
    script = f"import sys, zoo.checkpoints.store, zoo.fetch.coco; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
