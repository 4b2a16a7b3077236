"""`zoo verify`: do the committed results still hold?"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.commands.command import Command, add_results_dir, add_which
from zoo.commands.output import add_format, print_rows
from zoo.commands.selection import select

if TYPE_CHECKING:
    from zoo.results.verify.verification import Verification

SUMMARY = "GITHUB_STEP_SUMMARY"
"""Variable that names the file a job of GitHub Actions shows on its page."""


def _verify(options: argparse.Namespace) -> int:
    from zoo.files import result_errors, write_atomically
    from zoo.results.verify.markdown import render
    from zoo.results.verify.verification import verify

    found = verify(options.measured, options.results_dir, select(options.which))
    text = render(found)
    if options.markdown is not None:
        with result_errors(options.markdown):
            write_atomically(options.markdown, text)
    if os.environ.get(SUMMARY):
        page = Path(os.environ[SUMMARY])
        with result_errors(page), page.open("a", encoding="utf-8") as summary:
            summary.write(text)
    _print(found, options.format)
    return 0 if found.holds else 1


def _print(found: Verification, style: str) -> None:
    if style != "table":
        rows = [
            {"cause": item.cause.value, "subject": item.subject, "message": item.message, "next_step": item.next_step}
            for item in found.failures
        ]
        print_rows(rows, style, columns=("cause", "subject", "message", "next_step"))
        return
    for note in found.notes:
        print(f"note: {' '.join(note.split())}")
    for item in found.failures:
        print(f"{item.cause}: {item.subject}: {' '.join(item.message.split())}\n  next: {item.next_step}")
    count = f"{len(found.failures)} failure{'' if len(found.failures) == 1 else 's'}"
    print(f"{found.summary}: {'they hold' if found.holds else count}")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("measured", type=Path, metavar="DIR", help="results.dir of a sweep that was made just now")
    add_which(parser)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the answer there, for a pull request")
    add_format(parser)
    add_results_dir(parser)


COMMANDS = (
    Command(
        name="verify",
        theme="results",
        about="hold what was measured just now against the committed results",
        run=_verify,
        arguments=_arguments,
    ),
)
