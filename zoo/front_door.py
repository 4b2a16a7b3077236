"""What both front doors owe whoever started them: printing never fails, and a signal ends a run as Ctrl-C does."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TextIO

from zoo.errors import ZooError

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Requests to end; a platform may not have all of them."""


class ForgivingStream:
    """A text stream whose reader may go away, and whose encoding may not have every character.

    After the reader has gone (`| head`) what is written goes nowhere, so that a command ends with the status that it
    has earned. Characters that the encoding lacks become "?".

    Args:
        stream: the stream; everything but writing is its own.

    Attributes:
        lost: why what is written gets lost, where that is not the reader's doing: a full disk.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: OSError | None = None
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")

    def write(self, text: str) -> int:
        """Write a text; see `TextIO.write`."""
        with self._forgiving():
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write texts; see `TextIO.writelines`."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush the stream; see `TextIO.flush`."""
        with self._forgiving():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _forgiving(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.lost = self.lost or error
            # Nothing may be written at the interpreter's exit either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


class Terminated(KeyboardInterrupt):
    """A request to end from outside, by its signal's name."""


def answer_for(run: Callable[[], int], *, interrupted: str) -> int:
    """Run a command and turn whatever ends it into words and an exit status.

    Its streams are forgiving, and SIGTERM and SIGHUP are raised in it as `Terminated`.

    Args:
        run: the command; returns its exit status.
        interrupted: what is said after Ctrl-C or a signal.

    Returns:
        The exit status; 1 where it was interrupted, that of the error where it raised a `ZooError`.
    """
    with _door() as stdout:
        try:
            status = run()
            stdout.flush()
            if stdout.lost is not None:
                reason = stdout.lost.strerror or stdout.lost
                print(f"error: cannot write the output: {reason}\nnext: free some space", file=sys.stderr)
            return max(status, int(stdout.lost is not None))
        except ZooError as error:
            print(f"error: {error.message}\nnext: {error.next_step}", file=sys.stderr)
            return error.exit_status
        except KeyboardInterrupt as stop:
            by = f" by {stop}" if str(stop) else ""
            print(f"interrupted{by}{interrupted}", file=sys.stderr)
            return 1


@contextlib.contextmanager
def _door() -> Iterator[ForgivingStream]:
    streams = sys.stdout, sys.stderr
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.signal(number, _end) for number in SIGNALS}
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:  # for `>&-`, which leaves None
        stdout, stderr = (_forgiving(stream or nowhere) for stream in streams)
        sys.stdout, sys.stderr = stdout, stderr
        try:
            yield stdout
        finally:
            stdout.flush()
            sys.stdout, sys.stderr = streams
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _forgiving(stream: TextIO) -> Any:
    return stream if isinstance(stream, ForgivingStream) else ForgivingStream(stream)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    for other in SIGNALS:  # one is enough: the end must not be ended
        signal.signal(other, signal.SIG_IGN)
    raise Terminated(signal.Signals(number).name)
