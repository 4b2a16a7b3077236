"""Documents -> lines: merge conflicts, and what only looks like a part of the document."""

from __future__ import annotations

import pytest

from zoo.catalog.published.issues import Issue, summary
from zoo.catalog.published.sources import readings

CONFLICT = """first
<<<<<<< HEAD
ours
=======
theirs
>>>>>>> 0123456789abcdef0123456789abcdef01234567
last
"""


def texts(document: str) -> list[list[str]]:
    return [[line.text for line in lines if line.text] for lines in readings(document, "a.md")[0]]


def test_a_clean_document_has_one_reading() -> None:
    (lines,), issues = readings("a\n\nb\n", "a.md")
    assert [(line.number, line.text) for line in lines] == [(1, "a"), (2, ""), (3, "b"), (4, "")]
    assert issues == []


def test_both_sides_of_a_conflict_are_read() -> None:
    (ours, theirs), issues = readings(CONFLICT, "a.md")
    assert [(line.number, line.text, line.side) for line in ours if line.text] == [
        (1, "first", None),
        (3, "ours", "HEAD"),
        (7, "last", None),
    ]
    assert [(line.number, line.side) for line in theirs if line.text] == [(1, None), (5, "0123456789"), (7, None)]
    assert issues == [
        Issue("a.md", 2, "a merge conflict up to line 6 (HEAD and 0123456789)", "both sides are kept, as two readings")
    ]


def test_the_common_ancestor_of_a_conflict_is_left_out_aloud() -> None:
    document = CONFLICT.replace("=======", "||||||| base\nold\n=======")
    assert texts(document) == [["first", "ours", "last"], ["first", "theirs", "last"]]
    assert readings(document, "a.md")[1][0].resolution.endswith("their common ancestor is left out")


def test_a_conflict_that_never_ends() -> None:
    _, (issue,) = readings("<<<<<<< HEAD\nours\n=======\ntheirs\n", "a.md")
    assert issue.problem == "a merge conflict (HEAD and theirs) that never ends"


def test_an_underlined_heading_on_the_second_side_of_a_conflict() -> None:
    document = CONFLICT.replace("theirs", "theirs\n=======")
    assert texts(document) == [["first", "ours", "last"], ["first", "theirs", "=======", "last"]]


def test_an_underlined_heading_is_no_conflict() -> None:
    assert texts("Title\n=======\n") == [["Title", "======="]]


@pytest.mark.parametrize(
    "document",
    [
        "a\n```latex\n| x |\n```\nb",
        "a\n```latex |\n| x |\n``` |\nb",
        "a\n~~~~\n```\n~~~\n~~~~\nb",
        "a\n<!--\n| x |\n-->\nb",
        "a <!-- x -->\nb",
        "a <!--\n| x |\n-->\nb",
    ],
)
def test_code_and_comments_are_no_part_of_it(document: str) -> None:
    assert [[text.strip() for text in found] for found in texts(document)] == [["a", "b"]]


def test_code_on_one_line_is_a_part_of_it() -> None:
    assert texts("a ```b``` c\n```d``` e") == [["a ```b``` c", "```d``` e"]]


@pytest.mark.parametrize(("opening", "what"), [("```", "a code block"), ("<!--", "a comment")])
def test_what_never_closes_is_reported(opening: str, what: str) -> None:
    lines, issues = readings(f"a\n{opening}\n| x |\n", "a.md")
    assert issues == [Issue("a.md", 2, f"{what} that never ends", "everything after it is left out")]
    assert [line.text for line in lines[0]] == ["a", "", "", ""]


def test_line_numbers_are_those_of_an_editor() -> None:
    (lines,), _ = readings("a\r\nb\x0cc\u2028d\re\n", "a.md")
    assert [(line.number, line.text) for line in lines] == [(1, "a"), (2, "b\x0cc\u2028d"), (3, "e"), (4, "")]


def test_summary_puts_the_same_fault_on_one_line() -> None:
    issues = [Issue("a.md", line, "a stray bar", "left off") for line in range(1, 9)]
    assert summary([*issues, Issue("b.md", 3, "a range", "left out")]) == [
        "a.md:1, 2, 3, 4, 5, 6 and 2 more: a stray bar: left off",
        "b.md:3: a range: left out",
    ]
