"""`zoo diff`: measured beside published, two records or runs, two states of the results."""

from __future__ import annotations

import argparse
import fnmatch
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zoo.commands.command import WHICH, Command, add_results_dir
from zoo.commands.output import add_format, print_rows
from zoo.commands.results import no_records
from zoo.commands.selection import select
from zoo.errors import UsageError, ZooError
from zoo.results.compare.records import comparison_lines, render_comparison
from zoo.results.compare.rows import COLUMNS, compare_snapshots, pair_lines, render_pairs
from zoo.results.compare.snapshots import Snapshot, matching_versions, of_commit, of_tables, present
from zoo.results.diff import diff_rows, entries_of, flat_rows, passes, render_diff
from zoo.results.gather import gather_evidence
from zoo.results.ledger import Ledger
from zoo.results.record import Record
from zoo.results.run_folder import StoredDetections
from zoo.results.seeds import aggregate_seeds
from zoo.results.trials import trials_among
from zoo.terminal import width_of

Kind = Literal["entries", "file", "table", "commit"]

_WORDS: dict[Kind, str] = {"entries": "entries", "file": "a record", "table": "a table version", "commit": "a commit"}

_PREFIXES: dict[Kind, str] = {"entries": "entry:", "table": "table:", "commit": "git:"}
"""What a word begins with that says itself what it is."""

_STEP = "see docs/diff.md for what compares: entries; two records or run folders; table versions and git:COMMIT"


def _diff(options: argparse.Namespace) -> int:
    words, root = options.which, options.results_dir
    kinds = [_kind(word, root) for word in words]
    if set(kinds) <= {"entries"}:
        return _beside_published([word.removeprefix(_PREFIXES["entries"]) for word in words], root, options.format)
    if set(kinds) == {"file"}:
        return _two_records(words, options.data, options.format)
    if set(kinds) <= {"table", "commit"}:
        return _two_states(words, kinds, root, options.format)
    first, other = dict.fromkeys(kinds)
    message = f"{words[kinds.index(first)]} is {_WORDS[first]} and {words[kinds.index(other)]} {_WORDS[other]}"
    raise UsageError(f"{message}: they do not compare", next_step=_STEP)


def _kind(word: str, root: Path) -> Kind:
    """What a word names.

    Raises:
        UsageError: it may be several things, or is called like a record file that is not there.
    """
    for kind, prefix in _PREFIXES.items():
        if word.startswith(prefix):
            return kind
    path = Path(word)
    ways: dict[Kind, str] = {}
    is_path = "/" in word
    if (path.is_file() and (is_path or word.endswith(".json"))) or (path / "record.json").is_file():
        ways["file"] = word if is_path else f"./{word}"
    if matching_versions(word, root):
        ways["table"] = _PREFIXES["table"] + word
    if ways and not is_path and _selects(word, root):
        ways["entries"] = _PREFIXES["entries"] + word
    if len(ways) > 1:
        meant = " and ".join(_WORDS[kind] for kind in ways)
        raise UsageError(f"{word!r} is {meant}", next_step=f"write {' or '.join(ways.values())}")
    if not ways and (word.endswith(".json") or is_path):
        step = "records are under results/records/<machine>/, and in the folders of runs as record.json"
        raise UsageError(f"no record file {word}", next_step=step)
    return next(iter(ways), "entries")


def _selects(word: str, root: Path) -> bool:
    """Whether a word means entries, or runs that have names of their own."""
    try:
        return bool(_matching(_everything(root), [word]))
    except UsageError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Filed:
    """A record and what it answers to.

    Attributes:
        record: the record.
        names: its own names: what the user called it, and what it is filed under beside the rows.
    """

    record: Record
    names: frozenset[str] = frozenset()


def _everything(root: Path) -> list[_Filed]:
    ledger = Ledger(root)
    rows = [_Filed(record=record) for record in aggregate_seeds(ledger.records())]
    return rows + [
        _Filed(record=record, names=frozenset(name for name in (record.name, path.stem) if name))
        for path, record in ledger.filed_attempts().items()
    ]


def _matching(everything: Iterable[_Filed], patterns: Sequence[str]) -> list[_Filed]:
    """What patterns mean, by entry or by own name.

    Raises:
        UsageError: a pattern that nothing fits.
    """
    filed = list(everything)
    known = {name for one in filed for name in (one.record.entry, *one.names)}
    wanted = {name for pattern in patterns for name in fnmatch.filter(known, pattern)}
    others = [pattern for pattern in patterns if not fnmatch.filter(known, pattern)]
    wanted |= {entry.name for entry in select(others)} if others else set()
    return [one for one in filed if wanted & {one.record.entry, *one.names}]


def _asked_by_name(one: _Filed, patterns: Sequence[str]) -> bool:
    """Whether a pattern means this very run, and not its whole entry."""
    return any(
        fnmatch.filter(one.names, pattern) and not fnmatch.fnmatch(one.record.entry, pattern) for pattern in patterns
    )


def _beside_published(patterns: Sequence[str], root: Path, style: str) -> int:
    filed = _everything(root)
    everything = [one.record for one in filed]
    chosen = _matching(filed, patterns) if patterns else filed
    if not chosen:
        raise no_records(root)
    trials = set(map(id, trials_among(everything)))
    left_out = [one for one in chosen if id(one.record) in trials and not _asked_by_name(one, patterns)]
    entries = entries_of(everything)
    shown = [one.record for one in chosen if one not in left_out]
    rows = diff_rows(shown, entries, gather_evidence(everything, entries))
    _show(flat_rows(rows), lambda width: render_diff(rows, width), style)
    _tell_left_out([one.record.entry for one in left_out], style)
    return 0 if passes(rows) else 1


def _tell_left_out(entries: Sequence[str], style: str) -> None:
    """Say how many trials are not shown, and where they are."""
    if entries:
        of = sorted(set(entries))
        runs = f"{len(entries)} run{'s' if len(entries) > 1 else ''} with one switch changed left out"
        where = f"zoo explain {of[0]}" if len(of) == 1 else f"zoo explain ENTRY, of {', '.join(of)}"
        _note(f"{runs}: see {where}", style)


def _note(text: str, style: str) -> None:
    """A sentence below the rows, where it does not get among those that a program reads."""
    if style == "table":
        print(f"\n{text}")
    else:
        print(text, file=sys.stderr)


def _two_records(paths: Sequence[str], data: Sequence[Path], style: str) -> int:
    from zoo.results.compare.by_image import by_image_lines, compare_by_image, render_by_image

    if len(paths) != 2:
        raise UsageError("two record files are compared at a time", next_step="zoo diff OLD.json NEW.json")
    files = [path / "record.json" if path.is_dir() else path for path in map(Path, paths)]
    old, new = (StoredDetections(record=Record.read(file), folder=file.parent) for file in files)
    lines = comparison_lines(old.record, new.record)
    text = render_comparison(old.record, new.record, width_of(sys.stdout))
    try:
        compared = compare_by_image(old, new, data)
    except ZooError as error:
        _show(lines, lambda _: text, style)
        _note(f"not compared by image: {error.message} ({error.next_step})", style)
        return 0
    _show(lines + by_image_lines(compared), lambda width: f"{text}\n{render_by_image(compared, width)}", style)
    return 0


def _two_states(words: Sequence[str], kinds: Sequence[Kind], root: Path, style: str) -> int:
    if len(words) > 2:
        raise UsageError("two states of the results are compared at a time", next_step="zoo diff git:OLD git:NEW")

    def read(word: str, kind: Kind) -> Snapshot:
        name = word.removeprefix(_PREFIXES[kind])
        return of_commit(name, root) if kind == "commit" else of_tables(name, root)

    states = [read(word, kind) for word, kind in zip(words, kinds, strict=True)]
    old, new = states if len(states) == 2 else (states[0], present(root))
    pairs = compare_snapshots(old, new)
    _show(pair_lines(pairs, full=True), lambda width: render_pairs(pairs, old, new, width), style, COLUMNS)
    return 0


def _show(
    lines: Sequence[dict[str, str]], text: Callable[[int | None], str], style: str, columns: Sequence[str] = ()
) -> None:
    """Print a comparison as text, or its lines as JSON or CSV."""
    if style == "table":
        print(text(width_of(sys.stdout)), end="")
    else:
        print_rows(lines, style, columns=columns)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "which",
        nargs="*",
        metavar="ENTRY|RECORD|VERSION|git:COMMIT",
        help=f"{WHICH}; two records or run folders; one or two table versions or commits (docs/diff.md)",
    )
    parser.add_argument(
        "--data", nargs="+", type=Path, default=[], metavar="DIR", help="data of two runs, as data.root=DIR has it"
    )
    add_format(parser)
    add_results_dir(parser)


COMMANDS = (
    Command(
        name="diff",
        theme="results",
        about="measured beside published, or two results",
        run=_diff,
        arguments=_arguments,
    ),
)
