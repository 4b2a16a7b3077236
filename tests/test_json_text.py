"""JSON of other people: what is no plain value is told, never passed on."""

from __future__ import annotations

import pytest

from zoo.schema import parse_json


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting property name"),
        ('{"a": NaN}', "NaN is no JSON number"),
        ("[-Infinity]", "-Infinity is no JSON number"),
        ("[-1e999]", "a number beyond the range of a float64"),
        ("[" * 65 + "]" * 65, "nested deeper than 64 levels"),
        ("[" * 100_000 + "]" * 100_000, "nested deeper than 64 levels"),
        ('{"a": "\\ud800"}', r"a text that is no Unicode: '\\ud800'"),
        ('{"\\udfff": 1}', "a text that is no Unicode"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' stands there twice"),
        ("[9223372036854775808]", "an integer beyond 64 bits"),
        ("[" + "1" * 5000 + "]", "integer string conversion"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)


def test_plain_values() -> None:
    text = '{"a": [1, -9223372036854775807, 1.5, true, null, "\\ud83d\\ude00 \\u00e4"], "b": {}}'
    assert parse_json(text) == {"a": [1, -(2**63) + 1, 1.5, True, None, "\U0001f600 \xe4"], "b": {}}
    assert parse_json("[" * 63 + "]" * 63)
