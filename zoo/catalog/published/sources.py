"""A document as lines: both sides of merge conflicts, and without what only looks like a table.

Code blocks and HTML comments are no part of what a document publishes. The two sides of a merge
conflict left in the file are both published, so such a document has two readings.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass

from zoo.catalog.published.issues import Issue
from zoo.catalog.published.spans import replaced, spans

_OURS, _BASE, _SPLIT, _THEIRS = "<<<<<<<", "|||||||", "=======", ">>>>>>>"
_FENCE = re.compile(r"\s*(`{3,}|~{3,})(.*)")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a document.

    Attributes:
        number: line number, from 1.
        text: characters of the line, without its end.
        side: the name of the side of a merge conflict it stands on; None outside of conflicts.
    """

    number: int
    text: str
    side: str | None = None


def readings(text: str, file: str) -> tuple[list[list[Line]], list[Issue]]:
    """The lines of a document, once; twice where it holds merge conflicts, one side in each."""
    # Not str.splitlines: form feeds and the like end no line in an editor, and would shift all numbers.
    lines = [Line(number, line) for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1)]
    sides, issues = _sides(lines, file)
    found = []
    for side in sides:
        shown, hidden = _published(side, file)
        found.append(shown)
        issues.extend(hidden)
    return found, issues


def _sides(lines: list[Line], file: str) -> tuple[list[list[Line]], list[Issue]]:
    """All lines with the first side of every conflict, and all lines with the second."""
    ours: list[Line] = []
    theirs: list[Line] = []
    issues: list[Issue] = []
    rest = iter(lines)
    for line in rest:
        if not _is_marker(line, _OURS):
            ours.append(line)
            theirs.append(line)
            continue
        parts: dict[str, list[Line]] = {_OURS: [], _BASE: [], _SPLIT: []}
        part, name, other, end = _OURS, _label(line, "ours"), "theirs", None
        for inner in rest:
            if _is_marker(inner, _THEIRS):
                other, end = _label(inner, "theirs"), inner.number
                break
            if (part == _OURS and _is_marker(inner, _BASE)) or (part != _SPLIT and _is_marker(inner, _SPLIT)):
                part = inner.text[: len(_SPLIT)]
            else:
                parts[part].append(inner)
        ours.extend(dataclasses.replace(inner, side=name) for inner in parts[_OURS])
        theirs.extend(dataclasses.replace(inner, side=other) for inner in parts[_SPLIT])
        issues.append(_conflict(file, line.number, end, f"{name} and {other}", bool(parts[_BASE])))
    return ([ours, theirs] if issues else [ours]), issues


def _is_marker(line: Line, marker: str) -> bool:
    return line.text == marker or line.text.startswith(marker + " ")


def _label(line: Line, default: str) -> str:
    """The name after a conflict marker; commit hashes are shortened."""
    name = line.text[len(_OURS) :].strip() or default
    return name[:10] if re.fullmatch(r"[0-9a-f]{40}", name) else name


def _conflict(file: str, line: int, end: int | None, names: str, with_base: bool) -> Issue:
    if end is None:
        return Issue(file, line, f"a merge conflict ({names}) that never ends", "the rest is read as part of it")
    resolution = "both sides are kept, as two readings" + ("; their common ancestor is left out" if with_base else "")
    return Issue(file, line, f"a merge conflict up to line {end} ({names})", resolution)


def _comments(text: str) -> Iterator[tuple[int, int, str]]:
    """The whole comments in a line; nothing takes their place."""
    return ((start, end, "") for start, end in spans(text, "<!--", "-->"))


def _published(lines: list[Line], file: str) -> tuple[list[Line], list[Issue]]:
    """The lines outside of code blocks and HTML comments; the others are left blank."""
    shown: list[Line] = []
    opened: Line | None = None
    closing: re.Pattern[str] | None = None
    for line in lines:
        text = replaced(line.text, _comments)
        fence = _FENCE.match(text)
        if closing is not None:
            closing = None if closing.search(text) else closing
            text = ""
        elif fence and "`" not in fence[2]:
            # Not anchored at the end: a stray bar may follow.
            opened, closing = line, re.compile(rf"^\s*{re.escape(fence[1][0])}{{{len(fence[1])},}}")
            text = ""
        elif "<!--" in text:
            opened, closing = line, re.compile("-->")
            text = text.split("<!--", 1)[0]
        shown.append(dataclasses.replace(line, text=text))
    if opened is None or closing is None:
        return shown, []
    problem = "a comment that never ends" if "<!--" in opened.text else "a code block that never ends"
    return shown, [Issue(file, opened.number, problem, "everything after it is left out")]
