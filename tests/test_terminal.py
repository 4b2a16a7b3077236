"""Tables fit the terminal they are printed on and lose nothing on the way to a program."""

from __future__ import annotations

import io

import pytest

from zoo.terminal import ABSENT, Layout, paint, table, width_of

ROWS = [
    {"entry": "mmdet_a", "metric": "box_AP", "measured": "37.41", "reason": "one two three four five six"},
    {"entry": "mmdet_a", "metric": "mask_AP", "measured": "", "reason": ""},
    {"entry": "mmdet_b_long", "metric": "box_AP", "measured": "37.4", "reason": "seven"},
]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_what_fits_is_left_alone() -> None:
    assert table(ROWS, 80, Layout(drop=("reason",))) == table(ROWS, None)
    header, _, first, second, _ = table(ROWS, None).splitlines()
    assert header.split() == ["entry", "metric", "measured", "reason"]
    assert first.startswith("mmdet_a       box_AP   37.41     one two three")
    assert second.split() == ["mmdet_a", "mask_AP", ABSENT, ABSENT]
    assert table([], 10) == ""


def test_columns_are_dropped_and_named() -> None:
    lines = table(ROWS, 50, Layout(drop=("reason", "measured"))).splitlines()
    assert lines[0].split() == ["entry", "metric", "measured"]
    assert " ".join(lines[5:]) == "left out for the width: reason (see --format)"


def test_columns_go_below_their_line() -> None:
    lines = table(ROWS, 30, Layout(group="entry", below=("reason",))).splitlines()
    assert max(map(len, lines)) <= 30
    assert lines[0].split() == ["metric", "measured"]
    assert lines[2:] == [
        "mmdet_a",
        "box_AP   37.41",
        "    reason one two three four",
        "    five six",
        f"mask_AP  {ABSENT}",
        "mmdet_b_long",
        "box_AP   37.4",
        "    reason seven",
    ]


@pytest.mark.parametrize("width", [10, 15, 20, 40, 60])
@pytest.mark.parametrize("layout", [Layout(), Layout(group="entry"), Layout(drop=("reason", "measured", "metric"))])
def test_every_width_is_kept(width: int, layout: Layout) -> None:
    assert max(map(len, table(ROWS, width, layout).splitlines())) <= width


def test_width_and_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "COLUMNS", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert width_of(io.StringIO()) is None
    monkeypatch.setenv("COLUMNS", "132")
    assert width_of(Terminal()) == 132
    assert paint("EXACT", "green", io.StringIO()) == "EXACT"
    assert paint("EXACT", "green", Terminal()) == "\x1b[32mEXACT\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("EXACT", "green", Terminal()) == "EXACT"
