"""Records of schema version 1: read as they were meant, filed where they belong now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_up import cell, make_entry, make_record
from parity import GOLDEN

from zoo.results.ledger import Ledger
from zoo.results.record import Record
from zoo.results.seeds import aggregate_seeds, label
from zoo.results.verdict import judge

FIXTURE = GOLDEN / "records" / "version_1.json"
"""A record as the first version of zoo committed it, without parts of its composition."""

MACHINE = "cpu-intel-xeon-processor-2-50ghz-2-threads"
ENTRY = "shapes_yolov8_p"
PUBLISHED = make_entry(cell("68"), cell("0.74", metric="params_m"), name=ENTRY, zoo="shapes")


def old_record(**changes: Any) -> dict[str, Any]:
    """The fixture with dotted keys changed (`protocol__precision` is protocol.precision)."""
    document: dict[str, Any] = json.loads(FIXTURE.read_text(encoding="utf-8"))
    for key, value in changes.items():
        *path, last = key.split("__")
        node = document
        for name in path:
            node = node[name]
        node[last] = value
    return document


def read(document: dict[str, Any]) -> Record:
    return Record.from_json(json.dumps(document), where="old.json")


def write(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")


def test_every_number_is_kept() -> None:
    old, record = old_record(), read(old_record())
    assert (record.entry, record.zoo, record.name, record.status) == (ENTRY, "shapes", None, "measured")
    assert record.measured == old["measured"]
    assert record.checkpoint is not None
    assert (record.checkpoint.sha256, record.checkpoint.hash_evidence) == (old["checkpoint"]["sha256"], "full")
    assert record.checkpoint.load_report is not None
    assert record.checkpoint.load_report.loaded == 354
    assert record.data is not None
    assert (record.data.images, record.data.known, record.data.partial) == (200, True, False)
    assert (record.protocol.name, record.protocol.version) == ("shapes_yolo", 1)
    assert record.hardware is not None
    assert (record.hardware.id, record.hardware.software.torch) == (MACHINE, "2.15.0+cu132")
    assert record.code.commit == old["code"]["commit"]
    assert record.times.stages == old["times"]["stages"]
    assert Record.from_json(record.to_json(), where="new.json") == record


def test_every_number_belongs_to_a_part_of_the_one_run() -> None:
    record = read(old_record())
    assert list(record.parts) == ["accuracy", "speed", "memory", "complexity"]
    assert [key for part in record.parts.values() for key in part.values] == list(record.measured)
    assert {part.version for part in record.parts.values()} == {1}
    assert {part.finished for part in record.parts.values()} == {"2026-11-21T14:54:23+00:00"}
    assert {part.code.commit for part in record.parts.values()} == {"9723c5a254ab7a11ba6ee5e83a955494ba44f00d"}
    assert (record.parts["accuracy"].seconds, record.parts["speed"].images) == (3.95, 5)


def test_the_rows_own_condition_is_none() -> None:
    record = read(old_record())
    assert (record.identity.scheme, record.identity.row) == (1, None)
    assert (record.identity.changes, record.identity.conditions) == ((), ())
    assert record.identity.condition.items() >= {
        ("evaluator", "vectorized"),
        ("precision", "fp32"),
        ("batch_size", 1),
        ("protocol.fold_batch_norm", True),
        ("run.name", "evaluate"),
    }
    assert record.belongs_to_the_row
    assert judge(record, PUBLISHED)["box_AP"].verdict == "EXACT"


@pytest.mark.parametrize(
    ("changes", "condition"),
    [
        ({"protocol__precision": "bf16"}, "precision=bf16"),
        ({"protocol__config__batch_size": 8}, "batch_size=8"),
        ({"protocol__config__data__split": "train"}, "data.split=train"),
        ({"protocol__config__protocol__fold_batch_norm": False}, "protocol.fold_batch_norm=false"),
        ({"protocol__config__protocol__channels_last": True}, "protocol.channels_last=true"),
    ],
)
def test_what_was_judged_wrongly_is_not_compared_any_more(changes: dict[str, Any], condition: str) -> None:
    record = read(old_record(**changes))
    assert record.verdict["box_AP"].verdict == "EXACT", "so it was judged"
    assert record.identity.conditions == (condition,)
    assert judge(record, PUBLISHED)["box_AP"].verdict == "NOT-COMPARED"


def test_the_other_evaluator_was_and_is_compared() -> None:
    record = read(old_record(protocol__config__evaluator="pycocotools"))
    assert record.identity.conditions == ("evaluator=pycocotools",)
    assert judge(record, PUBLISHED)["box_AP"].verdict == "EXACT"


def test_a_part_of_the_split() -> None:
    limited: dict[str, Any] = {"protocol__config__data__limit": 5, "data__partial": True, "data__images": 5}
    record = read(old_record(**limited))
    assert record.identity.conditions == ("data.limit=5",)
    assert judge(record, PUBLISHED)["box_AP"].verdict == "PARTIAL"


def test_a_changed_composition_keeps_its_name(tmp_path: Path) -> None:
    document = old_record(entry=f"{ENTRY}+12345678", based_on=ENTRY, changes=["neck.blocks=2"])
    record = read(document)
    assert (record.entry, record.name, record.label) == (ENTRY, f"{ENTRY}+12345678", f"{ENTRY}+12345678")
    assert record.identity.changes == ("neck.blocks=2",)
    assert record.overrides == ["neck.blocks=2"]


def test_a_run_that_did_not_get_far() -> None:
    blocked = old_record(status="blocked", reason="link dead", checkpoint={}, data={}, hardware={}, measured={})
    record = read(blocked)
    assert (record.checkpoint, record.data, record.hardware, record.parts) == (None, None, None, {})
    assert (record.status, record.reason) == ("blocked", "link dead")


def training(seed: int, **changes: Any) -> dict[str, Any]:
    """A training as version 1 recorded it."""
    block = {"images": 1000, "annotations_sha256": "t", "begun_with": "fresh weights", "images_per_pass": 8}
    run = {"name": "train", "max_steps": None, "images_per_pass": "auto", "scale_lr": True}
    values = {"protocol__config__run": run, "checkpoint__hash_evidence": "none", "checkpoint__sha256": str(seed)}
    document = old_record(seed=seed, protocol__config__seed=seed, **values, **changes)
    document["protocol"]["training"] = block
    return document


def test_trainings_by_their_present_names() -> None:
    record = read(training(1))
    assert record.trained
    assert record.identity.condition["seed"] == 1
    assert record.protocol.training == {
        "images": 1000,
        "annotations_sha256": "t",
        "init_from": "random init",
        "micro_batch_size": 8,
    }
    (row,) = aggregate_seeds([read(training(seed)) for seed in range(3)])
    assert label(row) == f"{ENTRY} (trained, 3 seeds)"
    assert judge(row, PUBLISHED)["box_AP"].verdict == "NUMERIC"


# --- a results folder of the old layout -----------------------------------------------------------


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Rows, a changed composition, a blocked row and two seeds of a training, where version 1 kept them."""
    records = tmp_path / "records" / MACHINE
    write(records / f"{ENTRY}.json", old_record())
    write(records / "shapes_b.json", old_record(entry="shapes_b", protocol__precision="bf16"))
    write(records / "shapes_c.json", old_record(entry="shapes_c", status="blocked", reason="link dead", measured={}))
    changed = old_record(entry=f"{ENTRY}+12345678", based_on=ENTRY, changes=["neck.blocks=2"])
    write(records / f"{ENTRY}+12345678.json", changed)
    for seed in (0, 1):
        write(tmp_path / "trained" / f"seed_{seed}" / "records" / MACHINE / f"{ENTRY}.json", training(seed))
    return tmp_path


OLD_ROWS = [ENTRY, "shapes_b (precision=bf16)", f"{ENTRY} (trained, 1 seed)", f"{ENTRY} (trained, 1 seed)"]


def test_the_old_layout_is_read(results: Path) -> None:
    before = sorted(results.rglob("*.json"))
    assert sorted(label(record) for record in Ledger(results).records()) == sorted(OLD_ROWS)
    assert sorted(record.label for record in Ledger(results).attempts()) == ["shapes_c", f"{ENTRY}+12345678"]
    assert sorted(results.rglob("*.json")) == before, "reading moves nothing"


def test_the_old_layout_is_moved_at_the_next_filing(results: Path) -> None:
    rows, attempts = Ledger(results).records(), Ledger(results).attempts()
    new = make_record("mmdet_a")
    Ledger(results).file(new)
    assert sorted(path.relative_to(results).as_posix() for path in results.rglob("*.json")) == [
        f"local/{MACHINE}/shapes_c+blocked.json",
        f"local/{MACHINE}/{ENTRY}+12345678.json",
        f"records/{MACHINE}/shapes_b+precision-bf16.json",
        f"records/{MACHINE}/{ENTRY}+trained+seed-0.json",
        f"records/{MACHINE}/{ENTRY}+trained+seed-1.json",
        f"records/{MACHINE}/{ENTRY}.json",
        "records/h200-sxm/mmdet_a.json",
    ]
    assert not (results / "trained").exists(), "folders that nothing is in go"
    assert sorted(map(label, Ledger(results).records())) == sorted(map(label, [*rows, new]))
    assert sorted(map(label, Ledger(results).attempts())) == sorted(map(label, attempts))


def test_a_damaged_file_stays_where_it_is(results: Path) -> None:
    path = results / "trained" / "seed_0" / "records" / MACHINE / f"{ENTRY}.json"
    path.write_text("{", encoding="utf-8")
    Ledger(results).file(make_record("mmdet_a"))
    assert path.read_text(encoding="utf-8") == "{"


def test_a_new_speed_keeps_the_old_accuracy(results: Path) -> None:
    old = read(old_record())
    same: dict[str, Any] = {"images": 200, "data": "shapes", "hardware": old.hardware, "protocol": "shapes_yolo"}
    assert old.checkpoint is not None
    assert old.data is not None
    same |= {"weights": old.checkpoint.sha256, "annotations": old.data.annotations_sha256, "hash_evidence": "full"}
    measured = {
        "fps": 60.0,
        "timed": {"rounds": 3, "images": 64},
        "memory": {"kind": "host", "peak_allocated_bytes": 9},
    }
    filed = Ledger(results).file(make_record(ENTRY, measured=measured, **same))
    assert filed.path == results / "records" / MACHINE / f"{ENTRY}.json"
    assert filed.notes == tuple(f"{part} of version 1 replaced by version 2" for part in ("speed", "memory"))
    merged = Record.read(filed.path)
    assert list(merged.parts) == ["speed", "memory", "accuracy", "complexity"]
    assert merged.measured.items() >= measured.items()
    assert merged.number("box_AP") == old.number("box_AP")
    assert json.loads(filed.path.read_text(encoding="utf-8"))["schema_version"] == 2
    assert judge(merged, PUBLISHED)["box_AP"].verdict == "EXACT"
