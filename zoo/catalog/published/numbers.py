"""One table cell -> the digits it prints, as text: "39.0" is not "39"."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType

from zoo.catalog.entry import METRICS
from zoo.catalog.published.spans import links, replaced, spans

# Every search takes one pass, whatever a cell holds: `++` gives no digit back, and what may be missing at the end is
# looked for in `spans`, or in so many characters.
_NUMBER = r"[+-]?(?:\d++(?:\.\d++)?|\.\d++)"
_HYPHENS = r"[-\u2013\u2014\u2212]"
_BLANK = re.compile(rf"(?:{_HYPHENS}|[/\\\s])*|n/?a|tbd|none", re.IGNORECASE)
_EMPHASIS = re.compile(r"(\*\*|__|`|\*|(?<!\w)_)(.+?)\1")
_FOOTNOTE = re.compile(r"\[\^[^\]]{0,60}\]|<sup>.{0,60}?</sup>|\\?[*†‡§¶#^]|[¹²³⁰⁴-⁹]")
_RANGE = re.compile(rf"{_NUMBER}\s*(?:{_HYPHENS}|~|/|to|\.\.|…)\s*{_NUMBER}\s*\S*", re.IGNORECASE)
_SPREAD = re.compile(rf"({_NUMBER})\s*(?:±|\+/-)\s*{_NUMBER}")
_NOTE = re.compile(rf"({_NUMBER}[^(]*)\(([^)]*)\)")
_REFERENCE = re.compile(r"&#\d{8,};?", re.ASCII)
_UNIT = re.compile(rf"({_NUMBER})\s*([a-z%][a-z/%]*)", re.IGNORECASE)

LONGEST_NUMBER = 24
"""Characters of a number with its unit; decimal arithmetic keeps 28 digits."""

LONGEST_CELL = 2000
"""Characters of a cell that can be a number, with the address that it may link to."""

LONGEST_SHOWN = 200
"""Characters of a cell in an issue."""

UNITS = MappingProxyType(
    {
        "AP points": {"%": 0},
        "images/s": {"fps": 0, "images/s": 0, "img/s": 0},
        "ms": {"ms": 0, "s": 3},
        "GB": {"gb": 0, "g": 0, "mb": -3},
        "MB": {"mb": 0, "m": 0, "gb": 3},
        "h": {"h": 0, "hr": 0, "hrs": 0, "hours": 0},
        "M": {"m": 0, "k": -3},
        "B": {"b": 0, "g": 0, "gflops": 0, "m": -3},
        "parameters": {"parameters": 0},
        "GMAC": {"gmac": 0, "gmacs": 0},
        "MiB": {"mib": 0},
    }
)
"""Unit of metrics -> the units a cell may name -> the power of ten that leads to the metrics' own."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a cell says.

    Attributes:
        text: the digits, in the metric's unit; None where the cell holds no one number.
        remarks: (problem, resolution) of everything besides plain digits.
    """

    text: str | None
    remarks: tuple[tuple[str, str], ...] = ()


def plain(cell: str) -> str:
    """A cell without Markdown: the text of its links, no emphasis, no tags."""
    text = _unescaped(replaced(cell.replace("\\|", "|"), links))
    text = _EMPHASIS.sub(r"\2", text)
    return " ".join(replaced(text, _tags).split())


def _tags(text: str) -> Iterator[tuple[int, int, str]]:
    """The tags of HTML in a text, each with the blank that stands for it."""
    return ((start, end, " ") for start, end in spans(text, "<", ">"))


def _unescaped(text: str) -> str:
    """A text with its HTML references as characters; Python refuses to read numbers of thousands of digits."""
    return html.unescape(_REFERENCE.sub("\N{REPLACEMENT CHARACTER}", text))


def read_number(cell: str, metric: str) -> Reading:
    """The number that a cell prints for a metric.

    Digits are never rounded: a unit that differs by a power of ten moves the point.
    """
    remarks: list[tuple[str, str]] = []
    text = _unescaped(_EMPHASIS.sub(r"\2", cell.strip()))
    if struck := list(spans(text, "~~", "~~")):
        start, end = struck[0]
        remarks.append((f"a text struck out ({plain(text[start:end].strip('~'))})", "left out"))
        text = replaced(text, lambda text: ((*span, "") for span in spans(text, "~~", "~~"))).strip()
    if any(links(text)):
        text = replaced(text, links)
        remarks.append(("a link in the cell", "its text is read"))
    if _BLANK.fullmatch(plain(text)):
        return Reading(None, tuple(remarks))
    text = _without_marks(text, remarks)
    if _RANGE.fullmatch(text):
        return _unread(cell, "a range, not one number", remarks)
    text = _without_notes(text, remarks)
    text = _without_commas(text, remarks)
    return _in_unit(cell, text, metric, remarks)


_ONE_OF_EACH_UNIT = {unit: metric for metric, unit in METRICS.items()}.values()


@lru_cache(maxsize=256)  # a row that does not fit its table is tried in many ways, of which each changes one cell
def is_number_or_blank(cell: str) -> bool:
    """Whether a cell may stand in a column of numbers: blank, or one number with whatever notes and units."""
    if len(cell) > LONGEST_CELL:
        return False
    if any(read_number(cell, metric).text is not None for metric in _ONE_OF_EACH_UNIT):
        return True
    text = plain(cell)
    return bool(_BLANK.fullmatch(text) or _RANGE.fullmatch(text))


def _without_marks(text: str, remarks: list[tuple[str, str]]) -> str:
    marks = _FOOTNOTE.findall(text)
    if marks:
        text = _FOOTNOTE.sub(" ", text)
        remarks.append((f"a footnote mark ({' '.join(plain(mark) or mark for mark in marks)})", "left off"))
    # After the footnotes: the normal form of a raised 2 is a 2.
    return unicodedata.normalize("NFKC", plain(text))


def _without_notes(text: str, remarks: list[tuple[str, str]]) -> str:
    """Without what stands around the number: about, plus or minus, brackets."""
    if text[:1] in "~≈":
        text = text[1:].strip()
        remarks.append(("an approximate number", "its digits are read"))
    if spread := _SPREAD.fullmatch(text):
        remarks.append(("a number with its spread", f"read as {spread[1]}"))
        return spread[1]
    note = _NOTE.fullmatch(text)
    if note and not re.search(r"\d\.\d", note[2]):  # a second number in brackets is another reading, not a note
        remarks.append((f"a note in brackets ({note[2]})", "left off"))
        return note[1].strip()
    return text


def _without_commas(text: str, remarks: list[tuple[str, str]]) -> str:
    if re.match(r"\d{1,3}(,\d{3})+(?!\d)", text):
        remarks.append(("thousands separators", "left off"))
        return text.replace(",", "")
    if re.match(r"\d+,\d+(?![\d,])", text):
        remarks.append(("a decimal comma", "read as a point"))
        return text.replace(",", ".", 1)
    return text


def _in_unit(cell: str, text: str, metric: str, remarks: list[tuple[str, str]]) -> Reading:
    if len(text) <= LONGEST_NUMBER and re.fullmatch(_NUMBER, text):
        return Reading(text, tuple(remarks))
    match = _UNIT.fullmatch(text) if len(text) <= LONGEST_NUMBER else None
    power = UNITS[METRICS[metric]].get(match[2].lower()) if match else None
    if match is None or power is None:
        return _unread(cell, "not a number", remarks)
    digits = match[1] if power == 0 else format(Decimal(match[1]).scaleb(power), "f")
    remarks.append((f"a unit in the cell ({match[2]})", f"read as {digits}"))
    return Reading(digits, tuple(remarks))


def _unread(cell: str, problem: str, remarks: list[tuple[str, str]]) -> Reading:
    return Reading(None, (*remarks, (f"{problem}: {_shown(cell)}", "left out")))


def _shown(cell: str) -> str:
    text = plain(cell)
    return repr(text) if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]!r}..."
