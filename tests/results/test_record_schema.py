"""The published JSON Schema of a record is that of the classes."""

from __future__ import annotations

import dataclasses
import json
import typing
from pathlib import Path
from typing import Any

import pytest
from made_up import make_record

from zoo import cli
from zoo.measure.speed_values import SpeedValues
from zoo.results.record import Record
from zoo.schema import build, plain

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


def test_the_schema_says_what_a_speed_is(tmp_path: Path) -> None:
    definitions: dict[str, Any] = json.loads(schema_text(tmp_path))["$defs"]
    measured = definitions["Record"]["properties"]["measured"]
    assert measured["additionalProperties"] == {}, "other measurements add keys of their own"
    assert list(measured["properties"]) == ["fps", "fps_rounds", "latency_ms", "phases_ms", "timed"]
    assert list(definitions["Percentiles"]["properties"]) == ["p50", "p90", "p95", "p99", "n"]
    assert {"RoundValues", "Spread", "WarmUp", "WarmUpRule", "Clock", "MonitorValues"} <= set(definitions)


@pytest.mark.parametrize("path", sorted((ROOT / "results" / "records").glob("*/*.json")), ids=lambda path: path.stem)
def test_committed_speeds_have_that_layout(path: Path) -> None:
    record = Record.read(path)
    values = {key: record.measured[key] for key in record.parts["speed"].values}
    assert build(SpeedValues, values, "measured", "").fps == record.number("fps")
