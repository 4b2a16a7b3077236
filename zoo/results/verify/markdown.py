"""A verification as Markdown: a comment on a pull request, or the summary of a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zoo.results.cells import markdown_table
from zoo.results.diff import render_diff
from zoo.results.verify.comparison import Comparison, number
from zoo.results.verify.verification import Verification
from zoo.terminal import ABSENT

LIMIT = 60_000
"""Characters. A comment on GitHub takes 65,536."""

_END = "</details>"

_CUT = "\n\nThis is not all of it: `zoo verify` prints the rest.\n"


def render(verification: Verification) -> str:
    """The answer first, then why not and what to do, then the numbers that moved; everything else folded away."""
    failures = verification.failures
    count = f"{len(failures)} failure{'' if len(failures) == 1 else 's'}"
    parts = [f"### Results: {count if failures else 'they hold'}", f"{verification.summary}."]
    if failures:
        lines = [
            {"cause": f"**{item.cause}**", "of": item.subject, "what": item.message, "next": item.next_step}
            for item in failures
        ]
        parts.append(_table(lines))
    moved = [item for item in verification.comparisons if item.measured is None or item.committed != item.measured]
    if moved:
        parts += ["#### Numbers that are not the committed ones", _table([_line(item) for item in moved])]
    if verification.notes:
        parts.append(_folded("What was seen besides", "\n".join(f"- {_plain(note)}" for note in verification.notes)))
    if verification.published:
        parts.append(_folded("Measured beside published", render_diff(verification.published)))
    return _bounded("\n\n".join(parts) + "\n")


def _line(item: Comparison) -> dict[str, str]:
    difference = ABSENT if item.measured is None else f"{item.measured - item.committed:+,.3f}"
    return {
        "row": item.record.label,
        "number": item.metric,
        "committed of": item.machine,
        "committed": number(item.committed),
        "measured": number(item.measured),
        "difference": difference,
        "may move": item.allowed,
        "": "" if item.holds else "**moved**",
    }


def _bounded(text: str) -> str:
    """The text, or the lines of it that fit, with what closes them."""
    if len(text) <= LIMIT:
        return text
    kept = text[: LIMIT - len(_CUT) - len(_END)].rpartition("\n")[0]
    opened = kept.count("<details>") > kept.count(_END)
    return kept + (f"\n\n{_END}" if opened else "") + _CUT


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{text.strip()}\n\n{_END}"


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    return markdown_table([{name: _plain(text) for name, text in row.items()} for row in rows])


def _plain(text: str) -> str:
    """A text on one line, that opens no tag."""
    return " ".join(text.split()).replace("<", "&lt;")
