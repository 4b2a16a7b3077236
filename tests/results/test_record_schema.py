"""The published JSON Schema of a record is that of the classes."""

from __future__ import annotations

import dataclasses
import importlib.util
import typing
from pathlib import Path
from types import ModuleType
from typing import Any

from made_up import make_record

from zoo.results.record import Record
from zoo.schema import plain

ROOT = Path(__file__).resolve().parents[2]


def script() -> ModuleType:
    path = ROOT / "scripts" / "write_record_schema.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_schema_is_that_of_the_classes() -> None:
    module = script()
    assert module.PATH.read_text(encoding="utf-8") == module.text(), "run scripts/write_record_schema.py"


def test_a_record_has_the_properties_that_the_schema_names() -> None:
    import json

    definitions: dict[str, Any] = json.loads(script().text())["$defs"]
    assert list(plain(make_record())) == list(definitions["Record"]["properties"])
    described = [p.get("description") for d in definitions.values() for p in d["properties"].values()]
    assert all(described), "every property says what it is"


def test_no_section_is_an_open_mapping_of_anything() -> None:
    hints = typing.get_type_hints(Record)
    assert not [name for name, hint in hints.items() if Any in typing.get_args(hint)]
    assert sum(dataclasses.is_dataclass(hint) for hint in hints.values()) >= 4
