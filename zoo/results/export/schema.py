"""The JSON Schema of a record, from the classes of `zoo.results.record`."""

from __future__ import annotations

from collections.abc import Iterator

from zoo.results.exporting import Document, Export, Request, json_text
from zoo.results.record import Record
from zoo.schema import json_schema


def _write(_: Request) -> Iterator[Document]:
    head = {"title": "zoo record", "description": "What one run of one row of a model zoo was, did and measured."}
    text = json_text(head | json_schema(Record))
    yield Document(path="record.schema.json", text=text)


EXPORT = Export(write=_write, of_records=False)
