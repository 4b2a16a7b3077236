"""Tables with one issue each: what is read, what is left out, and that it is reported."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.catalog.published.issues import Issue
from zoo.catalog.published.markdown import Table, read_tables, split_cells

HEAD = "| Model | Size | AP | FPS | Link |\n| --- | :-: | --: | --- | --- |\n"
ROW = ("a", "640", "37.4", "21.4", "[m](x.pth)")
LINE = "| a | 640 | 37.4 | 21.4 | [m](x.pth) |"


def read(text: str) -> tuple[list[Table], list[Issue]]:
    return read_tables(text, "a.md", lambda header: header in ("AP", "FPS"))


def rows(text: str) -> list[tuple[str, ...]]:
    return [row.cells for table in read(text)[0] for row in table.rows]


def issues(text: str) -> list[str]:
    return [f"{issue.line}: {issue.problem}: {issue.resolution}" for issue in read(text)[1]]


def test_a_clean_table() -> None:
    (table,), found = read(f"# Title\n\n{HEAD}{LINE}\n| b | | - | | |\n\ntext")
    assert (table.line, table.header) == (3, ("Model", "Size", "AP", "FPS", "Link"))
    assert [(row.line, row.cells) for row in table.rows] == [(5, ROW), (6, ("b", "", "-", "", ""))]
    assert found == []


cell_texts = st.text(st.characters(blacklist_categories=["C", "Z"], blacklist_characters="|\\`<~"), max_size=8)


@given(st.lists(st.lists(cell_texts, min_size=3, max_size=3), max_size=5))
def test_every_clean_table_is_read_back(body: list[list[str]]) -> None:
    lines = [f"| x{' | '.join(cells)} |" for cells in body]
    (table,), found = read("\n".join(["| Model | Size | Link |", "|---|---|---|", *lines]))
    assert [list(row.cells) for row in table.rows] == [[f"x{a}", b, c] for a, b, c in body]
    assert found == []


def test_a_table_without_outer_bars() -> None:
    text = "Model | AP\n---|---\na | 37.4\nb | 38.0\n\nsome text | with a bar"
    assert rows(text) == [("a", "37.4"), ("b", "38.0")]
    assert issues(text) == []


def test_escaped_bars_part_no_cells() -> None:
    assert split_cells(r"| a | [model](x) \| [log](y) |") == ["a", r"[model](x) \| [log](y)"]


def test_tables_end() -> None:
    other = "| Name | AP |\n|---|---|\n| z | 1.0 |\n"
    for end in ("", "# Heading\n", "<details>\n", "Text with a bar at its end |\n"):
        tables, found = read(f"{HEAD}{LINE}\n{end}{other}")
        assert [len(table.rows) for table in tables] == [1, 1], end
        assert found == []


def test_lines_of_bars_are_no_end_of_a_table() -> None:
    text = HEAD.replace("\n", "\n|\n") + LINE + "\n| |\n" + LINE
    assert rows(text) == [ROW, ROW]
    assert issues(text) == [f"{line}: a line of nothing but bars: left out" for line in (2, 4, 6)]


def test_a_stray_bar_at_the_end() -> None:
    text = "| Model | AP | |\n|---|---| |\n| a | 37.4 | |\n"
    assert rows(text) == [("a", "37.4")]
    assert issues(text) == [
        "1: a stray bar at the end of the column names: left off",
        "3: stray bars at the end of a row: left off",
    ]


def test_an_unescaped_bar_in_a_cell() -> None:
    text = f"{HEAD}| a | 640 | 37.4 | 21.4 | [m](x.pth) | [log](y) |"
    assert rows(text) == [("a", "640", "37.4", "21.4", "[m](x.pth) | [log](y)")]
    assert issues(text) == ["3: 6 cells for 5 columns: the surplus bar belongs to a cell"]


def test_a_surplus_bar_before_the_numbers_is_found_too() -> None:
    text = f"{HEAD}| a | 640 | px | 37.4 | 21.4 | [m](x.pth) |"
    assert rows(text) == [("a", "640 | px", "37.4", "21.4", "[m](x.pth)")]


def test_a_row_is_left_out_where_its_numbers_could_stand_in_several_columns() -> None:
    text = f"{HEAD}| a | 640 | 37.4 | [m](x.pth) |\n{LINE}"
    assert rows(text) == [ROW]
    assert issues(text) == [
        "3: 4 cells for 5 columns: left out: the numbers could stand in several columns, or in none"
    ]


def test_a_short_row_where_the_clean_rows_leave_one_place() -> None:
    head = "| Model | AP | Config | Log |\n|---|---|---|---|\n"
    clean, short = "| a | 37.4 | [c](a.py) | [l](a.json) |", "| b | 37.6 | [c](b.py) |"
    assert rows(f"{head}{clean}\n{short}") == [
        ("a", "37.4", "[c](a.py)", "[l](a.json)"),
        ("b", "37.6", "[c](b.py)", ""),
    ]
    assert issues(f"{head}{clean}\n{short}") == ["4: 3 cells for 4 columns: the missing cells are blank"]
    assert rows(f"{head}{short}") == []


def test_a_row_broken_over_lines() -> None:
    text = f"{HEAD}| a | 640 | 37.4\n| 21.4 | [m](x.pth) |\n{LINE}"
    assert rows(text) == [ROW, ROW]
    assert issues(text) == ["3: a row broken over 2 lines: read as one"]


def test_a_row_that_the_next_line_does_not_complete() -> None:
    text = f"{HEAD}| a | 640 | 37.4\n{LINE}"
    assert rows(text) == [("a", "640", "37.4", "", ""), ROW]
    assert issues(text) == ["3: 3 cells for 5 columns: the missing cells are blank"]


def test_a_row_that_only_lacks_its_last_bar() -> None:
    text = f"{HEAD}{LINE.removesuffix(' |')}\n{LINE}"
    assert rows(text) == [ROW, ROW]
    assert issues(text) == []


@pytest.mark.parametrize("glue", ["", " "])
def test_rows_on_one_line(glue: str) -> None:
    text = f"{HEAD}{LINE}{glue}{LINE.replace('37.4', '37.6')}\n"
    assert [row[2] for row in rows(text)] == ["37.4", "37.6"]
    assert issues(text) == ["3: 2 rows on one line: read one by one"]


def test_rows_that_share_a_bar() -> None:
    text = f"{HEAD}{LINE}{LINE[1:].replace('37.4', '37.6')}\n"
    assert [row[2] for row in rows(text)] == ["37.4", "37.6"]


def test_a_blank_line_inside_a_table() -> None:
    text = f"{HEAD}{LINE}\n\n{LINE}\n\ntext"
    assert rows(text) == [ROW, ROW]
    assert issues(text) == ["4: a blank line inside a table: the table goes on"]


def test_no_line_of_dashes() -> None:
    text = "| Model | AP |\n| a | 37.4 |\n"
    assert rows(text) == [("a", "37.4")]
    assert issues(text) == ["1: no line of dashes below the column names: read as a table all the same"]
    assert rows("either | or\nthis | that") == []


def test_too_few_dashes() -> None:
    text = "| Model | AP | FPS |\n|---|---|\n| a | 37.4 | 21.4 |\n"
    assert rows(text) == [("a", "37.4", "21.4")]
    assert issues(text) == ["2: 2 cells of dashes below 3 column names: the names count"]


def test_tables_without_a_line_between_them() -> None:
    tables, found = read("| Model | AP |\n|---|---|\n| a | 37.4 |\n| Name | FPS | Link |\n|---|---|---|\n| b | 2 | |\n")
    assert [(table.header, [row.cells for row in table.rows]) for table in tables] == [
        (("Model", "AP"), [("a", "37.4")]),
        (("Name", "FPS", "Link"), [("b", "2", "")]),
    ]
    assert found == []


def test_a_conflict_in_the_rows() -> None:
    text = (
        f"{HEAD}| common | | 30.0 | | |\n<<<<<<< HEAD\n{LINE}\n=======\n{LINE.replace('37.4', '37.6')}\n>>>>>>> fix\n"
    )
    (table,), found = read(text)
    assert [(row.line, row.side, row.cells[2]) for row in table.rows] == [
        (3, None, "30.0"),
        (5, "HEAD", "37.4"),
        (7, "fix", "37.6"),
    ]
    assert [issue.line for issue in found] == [4]


def test_rows_below_a_conflict_stay_below() -> None:
    text = f"{HEAD}<<<<<<< HEAD\n{LINE}\n=======\n{LINE.replace('37.4', '37.6')}\n>>>>>>> fix\n{LINE}\n"
    (table,), _ = read(text)
    assert [row.line for row in table.rows] == [4, 6, 8]


def test_a_conflict_that_ends_the_table_on_one_side_only() -> None:
    text = f"{HEAD}<<<<<<< HEAD\n{LINE}\n\nA note.\n=======\n{LINE}\n>>>>>>> fix\n"
    (table,), _ = read(text)
    assert [row.line for row in table.rows] == [4, 8]


def test_a_conflict_in_the_column_names() -> None:
    names, dashes = HEAD.splitlines()
    text = f"<<<<<<< HEAD\n{names}\n=======\n{names.replace('FPS', 'Speed')}\n>>>>>>> fix\n{dashes}\n{LINE}\n"
    tables, _ = read(text)
    assert [(table.line, table.header[3]) for table in tables] == [(2, "FPS"), (4, "Speed")]
    assert [row.cells for table in tables for row in table.rows] == [ROW, ROW]


pieces = st.sampled_from(
    [
        *(
            "|",
            "||",
            "\n",
            "\n\n",
            "---",
            ":-:",
            " a ",
            "37.4",
            "AP",
            "FPS",
            "- ",
            "\\|",
            "`",
            "```\n",
            "<!--",
            "-->",
            "# ",
        ),
        *("<<<<<<< HEAD\n", "=======\n", ">>>>>>> fix\n", "|||||||\n", "[m](x)", "(", "1,000", "\r", "\x0c", "中"),
    ]
)


@given(st.lists(pieces, max_size=60).map("".join))
def test_nothing_breaks_the_reader(text: str) -> None:
    tables, found = read(text)
    lines = len(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    for table in tables:
        assert all(len(row.cells) == len(table.header) and table.line < row.line <= lines for row in table.rows)
    assert all(1 <= issue.line <= lines for issue in found)
