"""Cells -> digits: nothing is rounded, and nothing besides plain digits passes without a remark."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.catalog.entry import METRICS
from zoo.catalog.published.numbers import UNITS, is_number_or_blank, plain, read_number


@pytest.mark.parametrize("cell", ["37.4", " 37.4 ", "**37.4**", "*37.4*", "_37.4_", "`37.4`", "37.4&nbsp;"])
def test_plain_digits_need_no_remark(cell: str) -> None:
    reading = read_number(cell, "box_AP")
    assert (reading.text, reading.remarks) == ("37.4", ())


@given(st.decimals(min_value=0, max_value=9999, places=2))
def test_digits_are_kept_as_printed(value: Decimal) -> None:
    assert read_number(str(value), "fps").text == str(value)


def test_trailing_zeros_are_kept() -> None:
    assert read_number("39.0", "box_AP").text == "39.0"
    assert read_number("39", "box_AP").text == "39"


@pytest.mark.parametrize("cell", ["", "-", "----", "\u2013", "\u2014", "N/A", "n/a", "TBD", "/", r"\-", "[-](a.md)"])
def test_blank_cells_hold_no_number(cell: str) -> None:
    assert read_number(cell, "fps").text is None
    assert is_number_or_blank(cell)


@pytest.mark.parametrize(
    ("cell", "metric", "text", "remark"),
    [
        ("[37.4](log.json)", "box_AP", "37.4", "a link in the cell"),
        ("37.4*", "box_AP", "37.4", "a footnote mark (*)"),
        (r"37.4\*", "box_AP", "37.4", r"a footnote mark (\*)"),
        ("37.4†", "box_AP", "37.4", "a footnote mark (†)"),
        ("37.4²", "box_AP", "37.4", "a footnote mark (²)"),
        ("37.4[^1]", "box_AP", "37.4", "a footnote mark ([^1])"),
        ("37.4<sup>2</sup>", "box_AP", "37.4", "a footnote mark (2)"),
        ("~~36.4~~ 37.4", "box_AP", "37.4", "a text struck out (36.4)"),
        ("~37.4", "box_AP", "37.4", "an approximate number"),
        ("37.4 ± 0.2", "box_AP", "37.4", "a number with its spread"),
        ("28.8 (FP16)", "fps", "28.8", "a note in brackets (FP16)"),
        ("37,4", "box_AP", "37.4", "a decimal comma"),
        ("37.4%", "box_AP", "37.4", "a unit in the cell (%)"),
        ("4.0 GB", "train_memory_gb", "4.0", "a unit in the cell (GB)"),
        ("7192 MB", "train_memory_gb", "7.192", "a unit in the cell (MB)"),
        ("7192 MB", "train_memory_mb", "7192", "a unit in the cell (MB)"),
        ("7.0 GB", "train_memory_mb", "7000", "a unit in the cell (GB)"),
        ("4.9 hr", "hours_per_epoch", "4.9", "a unit in the cell (hr)"),
        ("10,950 MB", "train_memory_gb", "10.950", "thousands separators"),
        ("0.0840 s", "latency_ms", "84.0", "a unit in the cell (s)"),
        ("840K", "params_m", "0.840", "a unit in the cell (K)"),
        ("840M", "flops_b", "0.840", "a unit in the cell (M)"),
        ("1,2345", "fps", "1.2345", "a decimal comma"),
    ],
)
def test_what_stands_around_a_number_is_reported(cell: str, metric: str, text: str, remark: str) -> None:
    reading = read_number(cell, metric)
    assert reading.text == text
    assert remark in [what for what, _ in reading.remarks]
    assert is_number_or_blank(cell)


def test_full_width_digits() -> None:
    assert read_number("\uff13\uff17.\uff14", "box_AP").text == "37.4"


@pytest.mark.parametrize(
    "cell", ["37.2-37.6", "37.2 \u2013 37.6", "37.2~37.6", "37.2 to 37.6", "37.2/37.6", "9.5-10 GB"]
)
def test_a_range_is_not_one_number(cell: str) -> None:
    reading = read_number(cell, "box_AP")
    assert reading.text is None
    assert reading.remarks[-1] == (f"a range, not one number: {cell!r}", "left out")


@pytest.mark.parametrize("cell", ["config", "37.4 37.6", "37.4 (37.6)", "5 fish", "37.4 | 21.4", "4.0 GB"])
def test_other_texts_are_left_out_aloud(cell: str) -> None:
    reading = read_number(cell, "box_AP")
    assert reading.text is None
    assert reading.remarks[-1][1] == "left out"


@pytest.mark.parametrize("cell", ["config", "[config](a.py)", "1x", "50e", "R-50-FPN", "37.4 | 21.4", "pytorch"])
def test_cells_that_cannot_stand_under_a_metric(cell: str) -> None:
    assert not is_number_or_blank(cell)


def test_plain() -> None:
    assert plain("mAP<sup>val<br>50-95") == "mAP val 50-95"
    assert plain(r"**[model](a.pth)** \| [log](b.json)") == "model | log"
    assert plain("lr_decay") == "lr_decay"


def test_every_metric_has_its_units() -> None:
    assert set(UNITS) == set(METRICS.values())
