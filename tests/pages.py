"""Pages of the report, read as a browser reads them, and where their links lead."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

VOID = {"meta", "br", "input", "wbr"}


class Page(HTMLParser):
    """What is in a page; fails where an element is closed that is not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.structure: list[tuple[str, tuple[str, ...]]] = []
        self.attributes: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._goes_on = False
        self.feed(text)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._goes_on = tag == "wbr"
        self.structure.append((tag, tuple(name for name, _ in attrs)))
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.links += [value for name, value in attrs if name in ("href", "src") and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts.append(data)
        elif self.open[-1:] != ["style"]:
            if self._goes_on:
                data = self.words.pop() + data
            self.words.append(data)
        self._goes_on = False


def read_site(folder: Path) -> dict[str, Page]:
    """Every page of a report, by its path below the folder."""
    found = sorted(folder.rglob("*.html"))
    return {path.relative_to(folder).as_posix(): Page(path.read_text(encoding="utf-8")) for path in found}


def dead_links(site: dict[str, Page]) -> list[str]:
    """The links of a report that lead to no page or anchor of it."""
    dead = []
    for name, page in site.items():
        for link in page.links:
            if link.startswith("data:"):  # a picture, there already
                continue
            path, _, anchor = link.partition("#")
            target = (Path(name).parent / unquote(path)).as_posix() if path else name
            target = "/".join(_without_dots(target.split("/")))
            if target not in site or (anchor and unquote(anchor) not in site[target].ids):
                dead.append(f"{name}: {link}")
    return dead


def _without_dots(parts: list[str]) -> list[str]:
    found: list[str] = []
    for part in parts:
        if part == "..":
            found.pop()
        else:
            found.append(part)
    return found
