"""The published JSON Schema of a record is that of the classes."""

from __future__ import annotations

import dataclasses
import json
import typing
from pathlib import Path
from typing import Any

from made_up import make_record

from zoo import cli
from zoo.results.record import Record
from zoo.schema import plain

ROOT = Path(__file__).resolve().parents[2]


def schema_text(tmp_path: Path) -> str:
    assert cli.main(["export", "schema", "--into", str(tmp_path)]) == 0
    return (tmp_path / "record.schema.json").read_text(encoding="utf-8")


def test_the_committed_schema_is_that_of_the_classes(tmp_path: Path) -> None:
    committed = (ROOT / "docs" / "record.schema.json").read_text(encoding="utf-8")
    assert committed == schema_text(tmp_path), "zoo export schema --into docs"


def test_a_record_has_the_properties_that_the_schema_names(tmp_path: Path) -> None:
    definitions: dict[str, Any] = json.loads(schema_text(tmp_path))["$defs"]
    assert list(plain(make_record())) == list(definitions["Record"]["properties"])
    described = [p.get("description") for d in definitions.values() for p in d["properties"].values()]
    assert all(described), "every property says what it is"


def test_no_section_is_an_open_mapping_of_anything() -> None:
    hints = typing.get_type_hints(Record)
    assert not [name for name, hint in hints.items() if Any in typing.get_args(hint)]
    assert sum(dataclasses.is_dataclass(hint) for hint in hints.values()) >= 4
