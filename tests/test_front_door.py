"""How a command ends whatever happens to it: closed pipes, poor terminals, signals."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from zoo.errors import UsageError, ZooError
from zoo.front_door import SIGNALS, ForgivingStream, answer_for


class Pipe(io.StringIO):
    """A pipe whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def fileno(self) -> int:
        return self.descriptor

    descriptor = -1


@pytest.mark.parametrize(
    ("error", "status"), [(ZooError("broke", next_step="mend it"), 1), (UsageError("a", next_step="b"), 2)]
)
def test_errors_are_two_lines(error: ZooError, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise error

    assert answer_for(fail, interrupted="") == status
    assert capsys.readouterr().err == f"error: {error.message}\nnext: {error.next_step}\n"


@pytest.mark.parametrize("number", SIGNALS)
def test_signals_end_a_command_as_ctrl_c_does(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(number)

    def work() -> int:
        os.kill(os.getpid(), number)
        pytest.fail("not reached")

    assert answer_for(work, interrupted="; what was finished is kept") == 1
    assert capsys.readouterr().err == f"interrupted by {number.name}; what was finished is kept\n"
    assert signal.getsignal(number) == before


def test_a_second_signal_does_not_end_the_end() -> None:
    ended = []

    def work() -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            ended.append(True)
        return 0

    assert answer_for(work, interrupted="") == 1
    assert ended == [True]


def test_a_reader_that_goes_away_changes_no_status(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Pipe()
    with (tmp_path / "file").open("w") as file:
        pipe.descriptor = file.fileno()
        monkeypatch.setattr(sys, "stdout", pipe)

        def work() -> int:
            print("a", "b")
            sys.stdout.writelines(["c"])
            return 3

        assert answer_for(work, interrupted="") == 3
        assert sys.stdout is pipe


def test_a_closed_terminal_changes_no_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)  # as Python has it after `>&-`
    assert answer_for(lambda: print("a") or 3, interrupted="") == 3


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")  # noqa: PTH110
def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", full)
        assert answer_for(lambda: print("a") or 0, interrupted="") == 1
    assert "error: cannot write the output: No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_characters_that_a_terminal_lacks_are_replaced(encoding: str) -> None:
    raw = io.BytesIO()
    stream: Any = ForgivingStream(io.TextIOWrapper(raw, encoding=encoding, write_through=True))
    print("box AP \N{EN DASH} \u6587", file=stream)
    assert raw.getvalue() == b"box AP ? ?\n"
    assert stream.encoding == encoding


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_through_a_closed_pipe_and_a_poor_terminal(encoding: str) -> None:
    """As a shell does it: `zoo list | head -1`."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "zoo.cli", "published", "mmdet"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0
