"""The code in the documents, for tests that do what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def code_blocks(document: str, language: str) -> list[str]:
    """The fenced blocks of a language in a Markdown file of the project, in order."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands_and_files(document: str) -> Iterator[tuple[str, str]]:
    """The steps of a document in order: ("bash", commands), or (path, content) of a block that names a file."""
    text = (ROOT / document).read_text(encoding="utf-8")
    for language, path, content in re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        if language == "bash" or path:
            yield path or language, content
