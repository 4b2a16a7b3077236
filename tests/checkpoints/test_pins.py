from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from zoo.checkpoints.pins import Pin, Pins
from zoo.errors import CheckpointError, DownloadError

A, B = "a" * 64, "b" * 64


def test_nothing_is_pinned_at_first(tmp_path: Path) -> None:
    assert Pins([tmp_path / "committed.lock"], tmp_path / "mine.lock").find(["https://host/a.pth"]) is None


def test_a_pin_holds_for_every_mirror(tmp_path: Path) -> None:
    pins = Pins([], tmp_path / "checkpoints.lock")
    added = pins.add(["https://host/a.pth", "https://mirror/a.pth"], sha256=A, size=7)
    assert pins.find(["https://mirror/a.pth"]) == added
    assert pins.find(["https://unknown/a.pth", "https://host/a.pth"]) == added
    assert pins.find(["https://unknown/a.pth"]) is None


def test_the_committed_file_is_looked_in_first_and_left_alone(tmp_path: Path) -> None:
    committed, mine = tmp_path / "committed.lock", tmp_path / "results" / "mine.lock"
    text = json.dumps({"https://host/a.pth": {"sha256": A, "size": 7, "pinned": "2025-01-01"}})
    committed.write_text(text)
    pins = Pins([committed], mine)
    pins.add(["https://host/a.pth"], sha256=B, size=8)
    assert pins.find(["https://host/a.pth"]) == Pin(sha256=A, size=7, pinned="2025-01-01")
    assert committed.read_text() == text


def test_the_first_pin_wins(tmp_path: Path) -> None:
    pins = Pins([], tmp_path / "checkpoints.lock")
    pins.add(["https://host/a.pth"], sha256=A, size=7)
    assert pins.add(["https://host/a.pth", "https://mirror/a.pth"], sha256=B, size=8).sha256 == A
    found = pins.find(["https://mirror/a.pth"])
    assert found is not None
    assert found.sha256 == A


def test_the_file_is_sorted_and_ends_with_a_newline(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.lock"
    pins = Pins([], path)
    for name in ("c", "a", "b"):
        pins.add([f"https://host/{name}.pth"], sha256=A, size=1)
    assert list(json.loads(path.read_text())) == [f"https://host/{name}.pth" for name in "abc"]
    assert path.read_text().endswith("}\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<<<<<<< HEAD\n{}\n",
        "[]",
        '{"https://host/a.pth": "aa"}',
        '{"https://host/a.pth": {"sha256": "aa", "size": 1, "pinned": "2025-01-01"}}',
        f'{{"https://host/a.pth": {{"sha256": "{A}", "size": "1", "pinned": "2025-01-01"}}}}',
        f'{{"https://host/a.pth": {{"sha256": "{A}", "size": 1, "pinned": 2025}}}}',
        f'{{"https://host/a.pth": {{"sha256": "{A}", "size": 1}}}}',
    ],
)
def test_a_corrupt_lock_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "checkpoints.lock"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"checkpoints\.lock: not a lock file of checkpoints: ") as caught:
        Pins([path], tmp_path / "mine.lock").find(["https://host/a.pth"])
    assert "git checkout -- " in caught.value.next_step
    with pytest.raises(CheckpointError):
        Pins([], path).add(["https://host/b.pth"], sha256=A, size=1)
    assert path.read_text() == text


def test_a_lock_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    with pytest.raises(DownloadError, match=r"checkpoints\.lock: cannot use .*results") as caught:
        Pins([], tmp_path / "results" / "checkpoints.lock").add(["https://host/a.pth"], sha256=A, size=1)
    assert "results.dir=DIR" in caught.value.next_step


def _pin_some(path: Path, first: int) -> None:
    for number in range(first, first + 10):
        Pins([], path).add([f"https://host/{number}.pth"], sha256=A, size=number)


def test_processes_do_not_lose_each_others_pins(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.lock"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_pin_some, args=(path, first)) for first in (0, 10)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert len(json.loads(path.read_text())) == 20
