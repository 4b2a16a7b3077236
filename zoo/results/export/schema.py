"""The JSON Schema of a record, from the classes of `zoo.results.record`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zoo.measure.speed_values import SpeedValues
from zoo.results.exporting import Document, Export, Request, json_text
from zoo.results.record import Record
from zoo.schema import json_schema


def _write(_: Request) -> Iterator[Document]:
    head = {"title": "zoo record", "description": "What one run of one row of a model zoo was, did and measured."}
    schema = json_schema(Record)
    _describe_speed(schema)
    text = json_text(head | schema)
    yield Document(path="record.schema.json", text=text)


def _describe_speed(schema: dict[str, Any]) -> None:
    """Say in the schema of a record what `measured` holds of a speed, where it was measured."""
    definitions = json_schema(SpeedValues)["$defs"]
    values = definitions.pop(SpeedValues.__name__)
    schema["$defs"]["Record"]["properties"]["measured"]["properties"] = values["properties"]
    schema["$defs"] |= definitions


EXPORT = Export(write=_write, of_records=False)
