"""The same rows on several machines side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_up import make_catalogue, make_record

from zoo.errors import UsageError
from zoo.results.ledger import Ledger
from zoo.results.machines import NAME, machines_markdown, rows_by_machine
from zoo.results.record import Record
from zoo.results.table import check_tables, current_folder, stale_tables, write_tables
from zoo.runtime.provenance import Code

DASH = "\N{EN DASH}"


def on(machine: str, entry: str = "mmdet_a", /, **more: Any) -> Record:
    return make_record(entry, hardware=machine, **more)


def cells(row: dict[str, str], machine: str) -> dict[str, str]:
    """The cells of a row on one machine, by column."""
    return {key.partition("@")[0]: text for key, text in row.items() if key.endswith(f"@{machine}")}


def test_each_machine_has_its_numbers_with_when_and_by_which_commit() -> None:
    memory = {"kind": "device", "peak_allocated_bytes": 2_500_000_000}
    fast = on(
        "h200", measured={"box_AP": 37.41, "fps": 61.0, "memory": memory}, code=Code(version="1", commit="a" * 40)
    )
    slow = on("cpu", measured={"box_AP": 37.42}, finished="2026-03-04T05:06:07+00:00")
    (row,) = rows_by_machine([fast, slow])
    assert row["entry"] == "mmdet_a"
    assert [key for key in row if "box_AP" in key] == ["box_AP@cpu", "box_AP@h200"]
    stamps = {
        f"{part}_{what}": text
        for part in ("accuracy", "speed", "memory")
        for what, text in (("date", "2026-01-01"), ("commit", "aaaaaaaa"))
    }
    numbers = {
        "box_AP": "37.41",
        "mask_AP": "",
        "keypoint_AP": "",
        "fps": "61.00",
        "memory_gb": "2.500",
        "memory_kind": "device",
    }
    assert cells(row, "h200") == stamps | numbers
    told = cells(row, "cpu")
    assert (told["box_AP"], told["accuracy_date"], told["accuracy_commit"]) == ("37.42", "2026-03-04", DASH)
    assert {told[name] for name in ("fps", "speed_date", "memory_gb", "memory_kind", "memory_commit")} == {DASH}


def test_rows_are_those_measured_anywhere_in_catalogue_order() -> None:
    records = [on("b", "paddle_c"), on("a", "mmdet_a", conditions=("precision=bf16",)), on("b", "mmdet_a")]
    rows = rows_by_machine(records)
    assert [row["entry"] for row in rows] == ["mmdet_a", "mmdet_a (precision=bf16)", "paddle_c"]
    assert [row["box_AP@a"] for row in rows] == ["-", "37.41", "-"]
    assert set(cells(rows[0], "a").values()) == {"-"}


def test_trainings_are_one_row_however_many_seeds_a_machine_drew() -> None:
    seeds = {"seeds": [0, 1, 2]}
    drawn = on("a", trained=True, hash_evidence="none", training=seeds)
    alone = on("b", trained=True, hash_evidence="none")
    (row,) = rows_by_machine([drawn, alone])
    assert (row["entry"], row["box_AP@a"], row["box_AP@b"]) == ("mmdet_a (trained)", "37.41", "37.41")


def test_two_records_that_are_called_alike_have_a_row_each() -> None:
    first, second = (on("a", trained=True, hash_evidence="none", measured={"box_AP": ap}) for ap in (37.0, 38.0))
    rows = rows_by_machine([first, second])
    assert [(row["entry"], row["box_AP@a"]) for row in rows] == [
        ("mmdet_a (trained)", "37.00"),
        ("mmdet_a (trained) [2]", "38.00"),
    ]


def test_markdown_has_a_table_a_number() -> None:
    code = Code(version="1", commit="a" * 40)
    text = "\n".join(machines_markdown([on("a", measured={"box_AP": 37.4, "fps": 9.0}, code=code), on("b", "mmdet_b")]))
    assert text.startswith("2 rows and conditions on 2 machines.")
    assert [line for line in text.splitlines() if line.startswith("##")] == ["## Box AP", "## Images per second"]
    box, fps = (part.splitlines() for part in text.split("## ")[1:])
    assert [line.split("|")[1:3] for line in box if "mmdet_a" in line] == [
        [" mmdet_a ", " 37.40 (2026-01-01 aaaaaaaa) "]
    ]
    assert not any("mmdet_b" in line for line in fps), "it has no speed anywhere"


def test_no_machine_can_be_called_as_the_table_is() -> None:
    text = on("cpu").to_json().replace('"id": "cpu"', f'"id": "{NAME}"')
    with pytest.raises(UsageError, match="a name fit for a folder"):
        Record.from_json(text, where="record.json")


def test_the_files_are_written_checked_and_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_catalogue(tmp_path, monkeypatch, "mmdet_a", "mmdet_b")
    results = tmp_path / "results"
    for machine in ("cpu", "h200"):
        Ledger(results).file(on(machine))
    first = {path: path.read_bytes() for path in write_tables(results) if path.stem == NAME}
    assert [path.suffix for path in first] == [".csv", ".json", ".md"]
    csv, document, _ = (content.decode() for content in first.values())
    rows = json.loads(document)["rows"]
    assert csv.splitlines()[0].split(",") == list(rows[0])
    write_tables(results)
    assert {path: path.read_bytes() for path in first} == first
    changed = current_folder(results) / f"{NAME}.md"
    changed.write_text("by hand", encoding="utf-8")
    assert check_tables(results) == [changed]
    write_tables(results)
    for path in (results / "records").rglob("*.json"):
        path.unlink()
    assert set(first) <= set(stale_tables(results))
