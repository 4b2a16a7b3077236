"""JSON as everything here reads it: plain, finite, of bounded depth, and fit to be written again."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import NoReturn

DEEPEST = 64
"""Levels of lists and objects inside each other."""

LARGEST = 2**63 - 1
"""The largest integer, as every other program reads it."""


def parse_json(text: str) -> object:
    """The value in a JSON text.

    Raises:
        ValueError: it is no JSON (NaN and Infinity are none), is nested deeper than `DEEPEST`, or has what others read
            in another way: a key twice, a text that is no Unicode, an integer beyond 64 bits, a number beyond a
            float64; the message says which.
    """
    try:
        value: object = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    pending: list[tuple[object, int]] = [(value, 1)]
    while pending:
        node, depth = pending.pop()
        if depth > DEEPEST:
            raise ValueError(_TOO_DEEP)
        if isinstance(node, str):
            _check_text(node)
        elif isinstance(node, int) and abs(node) > LARGEST:
            raise ValueError("an integer beyond 64 bits")
        elif isinstance(node, float) and math.isinf(node):  # as Python reads 1e999
            raise ValueError("a number beyond the range of a float64")
        elif isinstance(node, Mapping):
            for key, item in node.items():
                _check_text(key)
                pending.append((item, depth + 1))
        elif isinstance(node, list):
            pending += [(item, depth + 1) for item in node]
    return value


_TOO_DEEP = f"nested deeper than {DEEPEST} levels"


def _check_text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError(f"a text that is no Unicode: {text[:40]!a}") from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        double, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {double[:200]!r} stands there twice")
    return values


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
