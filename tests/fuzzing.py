"""Broken inputs made of whole ones, with fixed seeds: a reader answers each with a value or a ZooError.

A test of a reader takes three lines. Documents are text, bytes, or values that JSON can hold:

    def test_pins(tmp_path: Path) -> None:
        def read(data: bytes) -> object:
            (tmp_path / "checkpoints.lock").write_bytes(data)
            return Pins([], tmp_path / "checkpoints.lock").find(["https://host/a.pth"])

        fuzz("pins", read, [{"https://host/a.pth": {"sha256": "a" * 64, "size": 7, "pinned": "2026-01-31"}}])

`make test` tries 200 inputs a reader, `make fuzz` 10,000, of which those 200 are the first. A failure names the number
of the input, and `mutated(name, documents, number)` is that input again. A reader that can take the process down with
it belongs into a child process: let `read` start one. What a reader must leave alone is for `read` to assert.
"""

from __future__ import annotations

import copy
import json
import os
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from zoo.errors import ZooError

INPUTS = int(os.environ.get("ZOO_FUZZ", "200"))
"""Inputs a reader; `make fuzz` sets the variable."""

MOST_SECONDS = 20
"""Time of one input: no measure of speed, only so that an endless loop gets a name."""

HOSTILE_JSON = (
    *("null", "true", "0", "-1", "0.5", "1e308", "NaN", "-Infinity", str(2**31), str(2**63), str(2**64), "1" * 5000),
    *('""', '" "', '"0"', r'"\ud800"', r'"\u0000"', '"../../outside"', '"/tmp"', r'"C:\\x"', '"\u202e\u0661"'),
    *("[]", "{}", "[[]]", "[null]", '{"a": 1}', '{"": []}', "[" * 400 + "]" * 400, "[" * 100_000, '{"a":' * 50_000),
    '"' + "x" * 100_000 + '"',
)
"""JSON texts that take the place of values; one is half of a character, and two never end."""

HOSTILE_TEXTS = (
    *("\0", "\r", "\n\n", "\ufeff", "\x1b[2J", "\u2028", "\u202e", "\u0661", "\ufdfa", "&#" + "9" * 5000 + ";"),
    *("../", "/etc/passwd", "%00", "%2e%2e%2f", "://", "[::1", "-1", "1e999", "9" * 30, "nan", ",", ";", ":", "#"),
    *("[" * 300, "(" * 300, "|" * 300, "`" * 300, "*" * 300, "<" * 300, "<!--", "-->", "~~", "\\", '"', "&lt;"),
    *("*a", "&a ", "!!python/object/apply:os.abort []", "? ", "- - - ", "%YAML 9.9", "---\n"),
)
"""Texts that are inserted somewhere."""


def fuzz(name: str, read: Callable[[bytes], object], documents: Sequence[Any]) -> None:
    """Try a reader on `INPUTS` broken inputs.

    Args:
        name: of the reader; it is part of the seed.
        read: takes an input; its value does not matter.
        documents: whole ones, as many kinds as there are: text, bytes, or what JSON can hold.

    Raises:
        AssertionError: something else than a ZooError came out; it names the input.
    """
    for number in range(INPUTS):
        data = mutated(name, documents, number)
        try:
            with _ending():
                read(data)
        except ZooError as error:
            if not (error.message and error.next_step):
                raise AssertionError(f"{name}, input {number}: an error without words\n{data[:600]!r}") from error
        except (Exception, _EndlessError) as error:
            raise AssertionError(f"{name}, input {number}: {error!r:.300}\n{data[:600]!r}") from error


def mutated(name: str, documents: Sequence[Any], number: int) -> bytes:
    """The broken input of a number: one of the documents with one to four changes."""
    rng = random.Random(f"{name} {number}")
    document = rng.choice(documents)
    changes = rng.choice((1, 1, 1, 2, 2, 4))
    if not isinstance(document, str | bytes):
        if rng.random() < 0.7:
            return _mutated_value(document, rng, changes).encode("utf-8", "surrogatepass")
        document = json.dumps(document)
    data = document.encode() if isinstance(document, str) else document
    for _ in range(changes):
        data = rng.choice(_BYTE_CHANGES)(data, rng)
    return data


def _flip(data: bytes, rng: random.Random) -> bytes:
    """Other bits in a byte or a few."""
    changed = bytearray(data)
    for _ in range(min(len(changed), rng.choice((1, 1, 3, 20)))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, rng: random.Random) -> bytes:
    """The beginning, the end, or all but the middle."""
    start, end = _span(data, rng)
    return rng.choice((data[:start], data[start:], data[:start] + data[end:]))


def _repeat(data: bytes, rng: random.Random) -> bytes:
    """A piece several times, or very often."""
    start, end = _span(data, rng)
    end = min(end, start + 200)
    return data[:end] + data[start:end] * rng.choice((1, 2, 10, 300)) + data[end:]


def _swap(data: bytes, rng: random.Random) -> bytes:
    """Two neighbouring pieces in the other order."""
    start, end = _span(data, rng)
    middle = rng.randint(start, end)
    return data[:start] + data[middle:end] + data[start:middle] + data[end:]


def _insert(data: bytes, rng: random.Random) -> bytes:
    """A hostile text, instead of a piece or between two."""
    start, end = _span(data, rng)
    return data[:start] + rng.choice(HOSTILE_TEXTS).encode() + data[rng.choice((start, end)) :]


_BYTE_CHANGES = (_flip, _cut, _repeat, _swap, _insert)


def _span(data: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randint(0, len(data))
    return start, min(len(data), start + rng.choice((1, 4, 30, len(data))))


def _mutated_value(document: Any, rng: random.Random, changes: int) -> str:
    """The JSON text of a document with changes in its structure."""
    root = [copy.deepcopy(document)]  # in a list, so that the whole of it has a place as well
    raw: dict[str, str] = {}  # what no value stands for: the text that takes the place of a mark
    for number in range(changes):
        container, key = rng.choice(list(_places(root)))
        change = rng.choice(("hostile", "hostile", "hostile", "drop", "rename", "nest", "exchange", "double"))
        if change == "hostile":
            mark = f"@hostile {number}@"
            raw[json.dumps(mark)] = rng.choice(HOSTILE_JSON)
            container[key] = mark
        elif change == "nest":
            container[key] = rng.choice(([container[key]], {"a": container[key]}, {str(key): container[key]}))
        elif change == "exchange":
            other, place = rng.choice(list(_places(root)))
            container[key], other[place] = copy.deepcopy(other[place]), copy.deepcopy(container[key])
        elif isinstance(container, dict):
            value = container[key] if change == "double" else container.pop(key)
            if change != "drop":
                container[rng.choice((f"{key}s", str(key).upper(), "", "\ud800", "x" * 10_000))] = value
        elif container is not root:
            container[key : key + 1] = [] if change == "drop" else [container[key]] * 3
    text = json.dumps(root[0])
    for mark, hostile in raw.items():
        text = text.replace(mark, hostile)
    return text


def _places(container: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a value in a container, as the container that holds it and its key there."""
    for key, value in list(container.items() if isinstance(container, dict) else enumerate(container)):
        yield container, key
        if isinstance(value, dict | list):
            yield from _places(value)


class _EndlessError(BaseException):
    """An input takes longer than any may; no Exception, so that no reader takes it for one of its own."""


@contextmanager
def _ending() -> Iterator[None]:
    """A block that ends after `MOST_SECONDS`, where the system has alarms."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def ring(*_: object) -> None:
        raise _EndlessError(f"not done after {MOST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(MOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
