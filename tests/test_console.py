"""What a run says: its header, and the one line that it comes down to."""

from __future__ import annotations

from typing import Any

import pytest
from made_up import cell, make_entry, make_record

from zoo.console import answer, colour_of, header
from zoo.results.verdict import judge


def said(*cells: Any, **record: Any) -> tuple[str, str]:
    entry = make_entry(*cells)
    made = make_record(**record)
    made.verdict = judge(made, entry)
    return answer(made, entry)


@pytest.mark.parametrize(
    ("cells", "record", "expected"),
    [
        ([cell("57.6")], {"measured": {"box_AP": 57.642}}, ("EXACT", "57.64 against 57.6")),
        (
            [cell("57.6"), cell("50.1", "mask_AP")],
            {"measured": {"box_AP": 57.6, "mask_AP": 50.1}},
            ("EXACT", "57.60 against 57.6, masks 50.10 against 50.1"),
        ),
        (
            [cell("57.6"), cell("50.1", "mask_AP")],
            {"measured": {"box_AP": 57.6, "mask_AP": 49.1}},
            ("DRIFT", "masks 49.10 against 50.1; EXACT 57.60 against 57.6"),
        ),
        (
            [cell("57.6")],
            {"measured": {"box_AP": 80.0}, "partial": True, "images": 4},
            ("PARTIAL", "80.00 beside 57.6: not the whole split: 4 images"),
        ),
        ([cell("57.6")], {"measured": {"fps": 12.34}}, ("MEASURED", "12.3 images/s")),
        ([], {"measured": {"box_AP": 12.345}}, ("MEASURED", "box AP 12.35")),
        (
            [cell("57.6")],
            {"status": "blocked", "reason": "link dead", "weights": None},
            ("BLOCKED", "mmdet_a: link dead"),
        ),
    ],
)
def test_a_run_comes_down_to_one_line(cells: list[Any], record: dict[str, Any], expected: tuple[str, str]) -> None:
    assert said(*cells, **record) == expected


def test_colours() -> None:
    words = ("EXACT", "MEASURED", "DRIFT", "BLOCKED", "PARTIAL", "CONFLICT")
    assert [colour_of(word) for word in words] == ["green", "green", "red", "red", "yellow", "yellow"]


def test_the_header_says_what_is_measured() -> None:
    lines = header(make_record(), make_entry(cell("37.4"))).splitlines()
    assert lines[0].split(maxsplit=1) == ["row", "mmdet_a (a of mmdet)"]
    assert lines[1].endswith("sha256 00000000: begins with the published digits")
    assert lines[2].split(maxsplit=1)[1] == "coco2017 val2017, 5000 images, annotations aaaaaaaa: known"
    assert lines[3].split(maxsplit=1) == ["device", "NVIDIA H200, threads: 8"]
    assert lines[4].split(maxsplit=1)[1] == "mmdet, version 1, fp32"
    taken = make_record()
    assert taken.data is not None
    taken.data.equivalent = "train2017"
    assert "coco2017 val2017 (train2017), 5000 images" in header(taken, make_entry(cell("37.4")))
    other = header(make_record(hash_evidence="other weights", partial=True, known=False), make_entry(cell("37.4")))
    assert "not the published file" in other
    assert "5000 of its images, annotations aaaaaaaa: not the split's own" in other
