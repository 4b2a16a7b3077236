"""Write the JSON Schema of a record, docs/record.schema.json, from the classes of `zoo.results.record`.

    python scripts/write_record_schema.py

A test holds the committed file against what this would write.
"""

from __future__ import annotations

import json

from zoo.files import PROJECT, write_atomically
from zoo.results.record import Record
from zoo.schema import json_schema

PATH = PROJECT / "docs" / "record.schema.json"


def text() -> str:
    """The schema as the file has it."""
    head = {"title": "zoo record", "description": "What one run of one row of a model zoo was, did and measured."}
    return json.dumps(head | json_schema(Record), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write_atomically(PATH, text())
