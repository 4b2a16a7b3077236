"""Documents that are made to take long: each takes one pass, where a search of every beginning would take minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.catalog.published.documents import LARGEST_DOCUMENT, MOST_LINES, read_document, read_file
from zoo.catalog.published.markdown import MAX_BROKEN, MAX_COLUMNS, read_tables
from zoo.catalog.published.numbers import is_number_or_blank, plain, read_number
from zoo.errors import ZooError

SIZE = 200_000

PIECES = [
    *("[", "(", "|", "`", "*", "<", "!", "\\", "_", "1", "-", " ", "~~", "1 ", "(1", "<1", "a|", "a | "),
    *("[^", "<!--", "<sup>", "[a](", "](", "![", "&#9", "[YOLO", "a.py", "a.yml", "a.pth", "PSS-DET 1", "COCO mAP1"),
]


@pytest.mark.parametrize("piece", PIECES)
def test_a_line_of_one_piece(piece: str) -> None:
    body = piece * (SIZE // len(piece))
    read_document(body, "a.md")
    read_document(f"| Configs | box AP |\n|---|---|\n| {body} | 1{body} |\nPSS-DET {body}", "a.md")


def test_a_reference_of_thousands_of_digits() -> None:
    assert plain(f"a &#{'9' * 5000}; b") == "a \N{REPLACEMENT CHARACTER} b"
    assert plain("&#65;&#x42;&lt;") == "AB<"


def test_a_number_of_thousands_of_digits_is_none() -> None:
    reading = read_number("9" * 5000 + " MB", "train_memory_gb")
    assert reading.text is None
    assert len(reading.remarks[-1][0]) < 300
    assert not is_number_or_blank("9" * 5000)


def test_tables_wider_than_any_are_left_out() -> None:
    width = MAX_COLUMNS + 1
    text = f"{'| AP ' * width}|\n{'|---' * width}|\n{'| 1 ' * width}|\n"
    tables, issues = read_tables(text, "a.md", lambda name: name == "AP")
    assert tables == []
    assert [(issue.line, issue.problem, issue.resolution) for issue in issues] == [
        (1, f"a table of {width} columns", "left out")
    ]


def test_a_row_is_not_broken_over_the_rest_of_a_document() -> None:
    head = "| " + " | ".join(["AP"] * 40) + " |\n" + "|---" * 40 + "|\n"
    whole, broken = "| 1\n" * 40, MAX_BROKEN
    tables, _ = read_tables(head + whole, "a.md", lambda name: name == "AP")
    assert [row for table in tables for row in table.rows] == []
    assert broken < 40


def test_a_row_of_many_rows() -> None:
    """Glued together without end: each is read once."""
    text = "| Model | AP |\n|---|---|\n|" + "".join(f" a{i} | 1.0 |" for i in range(20_000))
    tables, _ = read_tables(text, "a.md", lambda name: name == "AP")
    assert len(tables[0].rows) == 20_000


def test_a_file_without_end(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    with path.open("wb") as file:
        file.truncate(LARGEST_DOCUMENT + 1)
    with pytest.raises(ZooError, match=r"README\.md: more than 4 MiB, which no Markdown file has"):
        read_file(path)


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_lines_without_end(tmp_path: Path, end: str) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(f"|{end}".encode() * (MOST_LINES + 1))
    with pytest.raises(ZooError, match=r"README\.md: more than 50,000 lines, which no Markdown file has"):
        read_file(path)
