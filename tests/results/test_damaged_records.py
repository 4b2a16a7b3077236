"""Records with a block of another kind somewhere: read as what they are, or refused with the file's name."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zoo.errors import UsageError
from zoo.results.diff import entries_of, render_diff
from zoo.results.ledger import Ledger
from zoo.results.record import Record

PROJECT = Path(__file__).parents[2]
TEXTS = [
    (PROJECT / "tests/golden/records/version_1.json").read_text(encoding="utf-8"),
    *(
        path.read_text(encoding="utf-8")
        for path in sorted((PROJECT / "results/records").glob("*/shapes_mask*.json"))[:1]
    ),
]
VALUES: list[Any] = [None, True, 5, -1, 1.5, 10**30, float("nan"), "", "x", "../../outside", "/abs", "\ud800", [], {}]
VALUES += [[[]], {"a": {}}, [1, 2], {"": None}, json.loads("[" * 200 + "]" * 200)]


def places(node: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where values lie in a document, but for the whole of it."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield (*place, key)
        yield from places(value, (*place, key))


@pytest.mark.parametrize("seed", range(4))
def test_whatever_a_record_holds_it_is_read_or_refused(seed: int, tmp_path: Path) -> None:
    generator, read, messages = random.Random(seed), 0, []
    for text in TEXTS:
        known = list(places(json.loads(text)))
        for _ in range(50):
            document = json.loads(text)
            *parents, last = generator.choice(known)
            node = document
            for key in parents:
                node = node[key]
            node[last] = generator.choice(VALUES)
            try:
                record = Record.from_json(json.dumps(document), where="record.json")
            except UsageError as error:
                messages.append(error.message)
                continue
            read += 1
            assert Record.from_json(record.to_json(), where="again") == record
            if record.hardware_id is not None:
                assert Ledger(tmp_path).path(record).resolve().is_relative_to(tmp_path.resolve())
            render_diff([record], entries_of([record])).encode()
    assert read > 20
    assert all(message.startswith("record.json: ") for message in messages)


@pytest.mark.parametrize("place", ["entry", "name", "hardware.id"])
@pytest.mark.parametrize("name", ["../../outside", "/abs", "a/b", "", ".hidden"])
def test_names_that_are_paths_are_refused(place: str, name: str) -> None:
    document = json.loads(TEXTS[-1])
    *parents, last = place.split(".")
    (document[parents[0]] if parents else document)[last] = name
    with pytest.raises(UsageError, match="a name fit for a f"):
        Record.from_json(json.dumps(document), where="record.json")
