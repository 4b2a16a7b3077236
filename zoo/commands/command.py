"""What a command of `zoo` is, and the arguments that several of them take."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zoo.commands.completers import entries

THEMES = {
    "runs": "measure and train",
    "catalogue": "what was published",
    "results": "what was measured",
    "shell": "your shell",
}
"""Name of a theme -> its heading in the help, in order."""

WHICH = "a zoo, an entry (its zoo may be left out) or a glob"


def _nothing(parser: argparse.ArgumentParser) -> None:
    """A command without arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command.

    Attributes:
        name: first word after `zoo`.
        theme: a key of `THEMES`: where the help lists it.
        about: what it does, in one line without a full stop.
        run: carries it out; returns the exit status (0 done, 1 the answer is no, 2 usage).
        arguments: adds its arguments to its parser.
        own_line: whether it reads its own command line, help included: `run` gets it as `arguments`.
    """

    name: str
    theme: str
    about: str
    run: Callable[[argparse.Namespace], int]
    arguments: Callable[[argparse.ArgumentParser], None] = _nothing
    own_line: bool = False


def add_which(parser: argparse.ArgumentParser, nargs: str = "*") -> None:
    """The argument `which`: patterns for `zoo.commands.selection.select`."""
    completed(parser.add_argument("which", nargs=nargs, metavar="ZOO|ENTRY|GLOB", help=WHICH), entries)


def completed(argument: argparse.Action, completer: Callable[..., list[str]]) -> None:
    """Let a shell complete an argument by what a function gives for its beginning, as argcomplete has it."""
    argument.completer = completer  # type: ignore[attr-defined]


def add_results_dir(parser: argparse.ArgumentParser) -> None:
    """The option `--results-dir`."""
    from zoo.results.ledger import results_dir

    parser.add_argument("--results-dir", type=Path, default=results_dir(), metavar="DIR", help="default: %(default)s")
