"""Records: what is written can be read, what is damaged is named, and nothing is half written."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from made_up import make_record

from zoo.errors import UsageError, ZooError
from zoo.files import result_errors, write_atomically
from zoo.results.record import SCHEMA_VERSION, Ledger, Record


def test_a_record_survives_its_json(tmp_path: Path) -> None:
    record = make_record(
        measured={"box_AP": 37.41234567890123, "latency_ms": {"p50": 1 / 3}},
        verdict={"box_AP": {"verdict": "EXACT", "published": "37.4", "measured": 37.4, "delta": 0.0, "reason": None}},
        reason="Straße",
        seed=7,
    )
    path = tmp_path / "deep" / "record.json"
    record.write(path)
    assert Record.read(path) == record
    assert "Straße" in path.read_text(encoding="utf-8")
    assert path.stat().st_mode & 0o777 == 0o644
    assert json.loads(path.read_text(encoding="utf-8"))["schema_version"] == SCHEMA_VERSION


def test_not_a_number_is_not_json() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        make_record(measured={"box_AP": float("nan")}).to_json()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ('{"entry": "mmdet_a", ', "not valid JSON"),
        ("[]", "not a zoo record"),
        ("{}", "not a zoo record"),
        ('{"entry": "a", "zoo": "b", "schema_version": 99}', "schema version 99, this zoo reads version 1"),
        ('{"entry": "a", "zoo": "b"}', "schema version None"),
        ('{"entry": "a", "zoo": "b", "schema_version": 1, "extra": 1}', "unknown keys extra"),
        ('{"entry": "a", "schema_version": 1}', "missing zoo"),
    ],
)
def test_a_damaged_record_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message) as caught:
        Record.read(path)
    assert str(path) in caught.value.message
    assert "run its entry again" in caught.value.next_step


def test_bytes_that_are_no_text_are_a_damaged_record(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not valid"):
        Record.read(path)


@pytest.mark.parametrize(
    ("changes", "rank"),
    [
        ({}, 2),
        ({"data": {"partial": True}}, 1),
        ({"data": {}}, 1),
        ({"checkpoint": {"hash_evidence": "other weights"}}, 1),
        ({"based_on": "mmdet_b"}, 1),
        ({"status": "blocked"}, 0),
        ({"status": "failed"}, 0),
    ],
)
def test_what_a_record_says(changes: dict[str, Any], rank: int) -> None:
    record = make_record(**changes)
    assert record.rank == rank
    assert record.compared is (rank == 2)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.json"
    write_atomically(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    expected = r"cannot write .*record\.json: No space left on device"
    with pytest.raises(ZooError, match=expected) as caught, result_errors(path):
        write_atomically(path, "new")
    assert "free some space" in caught.value.next_step
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path], "no temporary file stays behind"


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.json"
    write_atomically(path, "old")

    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path], "no temporary file stays behind"


def test_a_folder_in_the_way_is_an_error_with_a_next_step(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file", encoding="utf-8")
    path = tmp_path / "results" / "record.json"
    with pytest.raises(ZooError, match="cannot write"), result_errors(path):
        write_atomically(path, "new")


def test_the_ledger_files_by_machine_and_entry(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for hardware, entry in (("h200", "mmdet_b"), ("cpu", "mmdet_b"), ("h200", "mmdet_a")):
        assert ledger.add(make_record(entry=entry, hardware={"id": hardware})) is None
    assert ledger.add(make_record(hardware={})) is None
    assert [(r.hardware.get("id"), r.entry) for r in ledger.records()] == [
        ("cpu", "mmdet_b"),
        ("h200", "mmdet_a"),
        ("h200", "mmdet_b"),
        (None, "mmdet_a"),
    ]
    assert (tmp_path / "records" / "unknown" / "mmdet_a.json").is_file()


def test_an_empty_ledger(tmp_path: Path) -> None:
    assert list(Ledger(tmp_path / "nowhere").records()) == []


BLOCKED = {"status": "blocked", "measured": {}}
PARTIAL = {"data": {"partial": True}}


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        ({}, BLOCKED, True),
        ({}, PARTIAL, True),
        (PARTIAL, BLOCKED, True),
        (BLOCKED, PARTIAL, False),
        (PARTIAL, {}, False),
        ({}, {"seed": 1}, False),  # an equal is newer
        (BLOCKED, {"status": "failed"}, False),
    ],
)
def test_the_ledger_keeps_the_richer_record(
    tmp_path: Path, old: dict[str, Any], new: dict[str, Any], kept: bool
) -> None:
    ledger, before, after = Ledger(tmp_path), make_record(**old), make_record(**new)
    ledger.add(before)
    assert ledger.add(after) == (before if kept else None)
    assert list(ledger.records()) == [before if kept else after]


def test_a_damaged_record_does_not_stop_its_own_replacement(tmp_path: Path) -> None:
    ledger, record = Ledger(tmp_path), make_record()
    ledger.path(record).parent.mkdir(parents=True)
    ledger.path(record).write_text("{", encoding="utf-8")
    assert ledger.add(record) is None
    assert list(ledger.records()) == [record]


def test_every_field_is_documented() -> None:
    documented = Record.__doc__ or ""
    undocumented = [f.name for f in dataclasses.fields(Record) if f"{f.name}:" not in documented]
    assert undocumented == ["schema_version"]
