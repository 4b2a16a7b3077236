"""Pieces of a text between two marks, found in one pass.

A regular expression such as `<[^>]*>` looks for the end of every beginning anew. Where the end is missing that takes
the square of the text's length: 200 kB of `<` take minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator


def spans(text: str, opening: str, closing: str) -> Iterator[tuple[int, int]]:
    """Start and end of every shortest piece from `opening` to `closing`, both included; pieces do not overlap."""
    start = text.find(opening)
    while start >= 0:
        end = text.find(closing, start + len(opening))
        if end < 0:
            return
        end += len(closing)
        yield start, end
        start = text.find(opening, end)


def links(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and text of every link and picture of Markdown: `[text](address)`, with `!` before it or without."""
    start = text.find("[")
    while start >= 0:
        middle = text.find("]", start)
        if middle < 0:
            return
        after = middle + 1  # no `[` in between begins a link where this one does not: it would end at the same `]`
        if text.startswith("(", after):
            end = text.find(")", after)
            if end < 0:
                return
            after = end + 1
            first = start - 1 if start and text[start - 1] == "!" else start
            yield first, after, text[start + 1 : middle]
        start = text.find("[", after)


def replaced(text: str, find: Callable[[str], Iterator[tuple[int, int, str]]]) -> str:
    """A text with every piece (start, end, replacement) that `find` finds in it replaced."""
    parts, position = [], 0
    for start, end, replacement in find(text):
        parts += [text[position:start], replacement]
        position = end
    return "".join([*parts, text[position:]])
