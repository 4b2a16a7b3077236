"""The report: a folder of HTML pages that open from disk and need nothing else, the same bytes for the same records.

Each page holds its style sheet and its script, and a content security policy that lets nothing but these two run:
whatever a record says stays text, twice over.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.catalog.entry import Entry, read_entries
from zoo.errors import ZooError
from zoo.fetch.cache import progress
from zoo.files import result_errors, write_atomically
from zoo.results.ledger import Ledger
from zoo.results.record import Record
from zoo.results.report.contents import gather_contents, title_of
from zoo.results.report.curves import class_plot, pr_plot
from zoo.results.report.entry_page import View, entry_context
from zoo.results.report.facts import protocols_of
from zoo.results.report.index import index_context
from zoo.results.report.plots import verdict_bar
from zoo.results.report.words import verdict_class
from zoo.results.seeds import aggregate_seeds
from zoo.terminal import ABSENT

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_FOLDER = Path(__file__).parent / "templates"

_MARKER = "<!-- written by `zoo report` from the records; edits are lost -->"


def write_report(results_dir: Path, view: View | None = None) -> Path:
    """Write the pages of a results folder, and remove those of earlier reports that nothing is left of.

    Args:
        results_dir: folder of the records.
        view: what the stored detections of a record show; None to look for none.

    Returns:
        The first page, `report/index.html` in that folder.

    Raises:
        ZooError: there are no records, or the folder cannot be written to.
        UsageError: a record is damaged, or one measurement occurs in two versions.
    """
    ledger = Ledger(results_dir)
    records = [*aggregate_seeds(ledger.records()), *ledger.attempts()]
    if not records:
        raise ZooError(
            f"no records to read under {ledger.root}",
            next_step="measure something first: python -m zoo.bench entry=ENTRY (see `zoo list`)",
        )
    folder = results_dir / "report"
    pages = render_site(records, {entry.name: entry for entry in read_entries()}, view)
    with result_errors(folder):
        for name, text in pages.items():
            write_atomically(folder / name, text)
        for path in sorted((folder / "entries").glob("*.html")):
            if f"entries/{path.name}" not in pages and _is_ours(path):
                path.unlink()
    return folder / "index.html"


def render_site(records: Sequence[Record], entries: Mapping[str, Entry], view: View | None = None) -> dict[str, str]:
    """Path below the folder of the report -> text of the page.

    Args:
        records: rows and attempts, trainings a row for each recipe.
        entries: the whole catalogue, by name.
        view: what the stored detections of a record show; None to look for none.

    Raises:
        UsageError: one measurement occurs in two versions.
    """
    contents = gather_contents(records, entries)
    environment = _environment()
    index, entry = environment.get_template("index.html"), environment.get_template("entry.html")
    pages = {"index.html": index.render(**index_context(contents, protocols_of(records)))}
    with progress("report", total=len(contents.pages), unit="pages") as bar:
        for page in contents.pages:
            pages[f"entries/{page.file}"] = entry.render(**entry_context(contents, page, view))
            bar.update()
    return pages


def _is_ours(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return _MARKER in file.read(len("<!DOCTYPE html>\n") + len(_MARKER))


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    style, script = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("style.css", "table.js"))
    environment.globals |= {
        "absent": ABSENT,
        "marker": _MARKER,
        "title_of": title_of,
        "pr_plot": pr_plot,
        "class_plot": class_plot,
        "verdict_class": verdict_class,
        "verdict_bar": verdict_bar,
        "style": style,
        "script": script,
        "style_hash": _hash(style),
        "script_hash": _hash(script),
    }
    return environment


def _breakable(label: str) -> Markup:
    """A name that may go on in the next line behind each of its underscores."""
    from markupsafe import Markup, escape

    return Markup("_<wbr>").join(escape(part) for part in label.split("_"))


def _hash(text: str) -> str:
    """The hash of an inline style sheet or script, as a content security policy names it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
