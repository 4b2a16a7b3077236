"""Records: what is written can be read, what is damaged is named, and nothing is half written."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from made_up import make_record

from zoo.errors import UsageError, ZooError
from zoo.files import result_errors, write_atomically
from zoo.results import record as module
from zoo.results.record import SCHEMA_VERSION, LoadReport, Record, Verdict
from zoo.runtime.provenance import Code


def test_a_record_survives_its_json(tmp_path: Path) -> None:
    record = make_record(
        measured={"box_AP": 37.41234567890123, "latency_ms": {"p50": 1 / 3}, "timed": {"images": 8}},
        verdict={"box_AP": Verdict("EXACT", "37.4", 37.4, 0.0)},
        skipped={"train_memory": "needs a CUDA device"},
        changes=("neck=pafpn",),
        conditions=("precision=bf16",),
        code=Code(version="1", commit="6ff6315", dirty=False),
        reason="Straße",
        seed=7,
    )
    assert record.checkpoint is not None
    record.checkpoint.load_report = LoadReport(loaded=3, dropped={"optimizer": ["a", "b"]})
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
        ('{"entry": "a", "zoo": "b", "schema_version": 99}', "schema version 99, this zoo reads up to version 2"),
        ('{"entry": "a", "zoo": "b"}', "schema version None"),
        ('{"entry": "a", "schema_version": 2}', "missing zoo"),
        (make_record().to_json().replace('"seed": 0', '"seed": 0, "sed": 1'), "unknown key 'sed'"),
        (make_record().to_json().replace('"images": 5000', '"images": "5000"'), "data.images: '5000' is not"),
        (make_record().to_json().replace('"measured",', '"meassured",'), "status: no 'meassured' \\(closest: measured"),
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
    with pytest.raises(UsageError, match=r"not a record that can be read .*can't decode"):
        Record.read(path)


@pytest.mark.parametrize("kind", ["folder", "dangling link", "pipe"])
def test_what_is_no_file_is_a_damaged_record(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "record.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=f"{path.name}: not a record that can be read"):
        Record.read(path)


@pytest.mark.parametrize(
    ("changes", "belongs"),
    [
        ({}, True),
        ({"conditions": ("precision=bf16",)}, True),
        ({"trained": True, "hash_evidence": "none"}, True),
        ({"partial": True}, False),
        ({"known": False}, False),
        ({"images": None}, False),
        ({"hash_evidence": "other weights"}, False),
        ({"trained": True, "config": {"checkpoint": {"path": "mine.pth", "url": None}}}, False),
        ({"changes": ("neck=pafpn",)}, False),
        ({"status": "blocked"}, False),
        ({"status": "failed"}, False),
    ],
)
def test_what_is_filed_under_the_row(changes: dict[str, Any], belongs: bool) -> None:
    assert make_record(**changes).belongs_to_the_row is belongs


def test_values_by_dotted_name() -> None:
    record = make_record(measured={"fps": 3, "latency_ms": {"p50": 1.5}, "memory": {"kind": "host"}, "box_AP": None})
    assert (record.number("fps"), record.number("latency_ms.p50"), record.text("memory.kind")) == (3.0, 1.5, "host")
    assert (record.number("memory.kind"), record.number("box_AP"), record.number("fps.p50")) == (None, None, None)
    assert record.text("latency_ms") is None


def test_a_run_is_called_by_its_row_and_what_is_unlike_it() -> None:
    assert make_record().label == "mmdet_a"
    assert make_record(conditions=("precision=bf16", "batch_size=8")).label == "mmdet_a (precision=bf16, batch_size=8)"
    changed = make_record(changes=("neck=pafpn",), conditions=("batch_size=8",))
    assert changed.label == "mmdet_a (neck=pafpn, batch_size=8)", "another composition does not bear the row's name"
    many = make_record(changes=[f"head.scale_{i}=0" for i in range(5)])
    assert many.label == "mmdet_a (head.scale_0=0, head.scale_1=0, head.scale_2=0, 2 more changes)"
    assert make_record(name="mine", conditions=("precision=bf16",)).label == "mine"


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


SECTIONS = [item for item in vars(module).values() if isinstance(item, type) and item.__module__ == module.__name__]


@pytest.mark.parametrize(
    "section", list(filter(dataclasses.is_dataclass, SECTIONS)), ids=lambda section: section.__name__
)
def test_every_field_is_documented(section: type) -> None:
    documented = section.__doc__ or ""
    assert [f.name for f in dataclasses.fields(section) if f"        {f.name}: " not in documented] == []


def test_no_field_of_a_record_is_an_untyped_mapping() -> None:
    untyped = [name for name, hint in get_type_hints(Record).items() if hint in (dict, dict[str, Any], Any, object)]
    assert untyped == []


@pytest.mark.parametrize("place", ["entry", "name", "hardware.id"])
@pytest.mark.parametrize("name", ["../../outside", "/abs", "a/b", "", ".hidden"])
def test_names_that_are_paths_are_refused(place: str, name: str) -> None:
    document = json.loads(make_record().to_json())
    *parents, last = place.split(".")
    (document[parents[0]] if parents else document)[last] = name
    with pytest.raises(UsageError, match="a name fit for a f"):
        Record.from_json(json.dumps(document), where="record.json")
