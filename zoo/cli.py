"""The quick front door: `zoo COMMAND`, without Hydra and without torch until one of them is needed.

The commands themselves are in `zoo.commands`; this module parses the command line and answers for how a
command ends. Runs have a door of their own as well, `python -m zoo.bench`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from zoo.commands import commands
from zoo.commands.command import THEMES, Command
from zoo.commands.completion import complete
from zoo.errors import UsageError, closest
from zoo.front_door import answer_for

EXAMPLES = (
    ("zoo run shapes_faster_rcnn_r10_fpn", "measure an embedded row"),
    ("zoo show faster_rcnn_r50_fpn_1x", "what was published"),
    ("zoo predict shapes_yolov8_p photo.jpg --out found", "draw what it finds"),
)
"""What a newcomer may begin with."""

FLAGS = ("-h", "--help", "--version")
"""What may stand in the place of a command."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; without one print the help.

    Returns:
        The exit status: 0 done, 1 the answer is no or something was not to be had, 2 usage.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    return answer_for(lambda: _run(arguments), interrupted="; what was finished is kept")


def _run(arguments: list[str]) -> int:
    known = commands()
    if "_ARGCOMPLETE" in os.environ:  # a shell asks, and goes on with the answer
        complete(make_parser(known))
    for command in known:
        if command.own_line and arguments[:1] == [command.name]:
            return command.run(argparse.Namespace(arguments=arguments[1:]))
    parser = make_parser(known)
    if arguments and arguments[0].startswith("-") and arguments[0] not in FLAGS:
        raise UsageError(f"no option {arguments[0]!r} ({closest(arguments[0], FLAGS)})", next_step="see `zoo --help`")
    if not arguments:
        parser.print_help()
        return 0
    try:
        options, unknown = parser.parse_known_args(arguments)
    except SystemExit as stop:  # argparse has said what there is to say
        return stop.code if isinstance(stop.code, int) else 0
    if unknown:
        step = f"see `zoo {arguments[0]} --help`"
        raise UsageError(f"zoo {arguments[0]} does not take {' '.join(unknown)}", next_step=step)
    run: Callable[[argparse.Namespace], int] = options.command
    return run(options)


class _Parser(argparse.ArgumentParser):
    """argparse, with errors in this project's two lines and the closest command."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, next_step=f"see `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            near = closest(str(value), [str(choice) for choice in action.choices])
            self.error(f"no {action.metavar or action.dest} {value!r}; {near}")


class _TopParser(_Parser):
    """The parser of `zoo` itself: its help lists commands by theme and begins with examples."""

    def __init__(self, known: Sequence[Command], **more: Any) -> None:
        super().__init__(**more)
        self._known = known

    def format_help(self) -> str:
        lines = ["usage: zoo COMMAND [argument ...]", "", str(self.description), ""]
        width = max(len(line) for line, _ in EXAMPLES)
        lines += [f"  {line:<{width}}  # {about}" for line, about in EXAMPLES]
        for theme, heading in THEMES.items():
            members = [command for command in self._known if command.theme == theme]
            if members:
                lines += ["", f"{heading}:", *(f"  {command.name:<11} {command.about}" for command in members)]
        lines += ["", "`zoo COMMAND --help` says what a command takes; --version prints the version."]
        return "\n".join(lines) + "\n"


class _Version(argparse.Action):
    """Prints the version; looked up only when asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from zoo.runtime.provenance import zoo_version

        print(f"zoo {zoo_version()}")
        parser.exit()


def make_parser(known: Sequence[Command]) -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = _TopParser(known, prog="zoo", description="Published detection model zoos, measured again.")
    parser.add_argument("--version", action=_Version)
    subparsers = parser.add_subparsers(title="commands", metavar="command", required=True, parser_class=_Parser)
    for command in known:
        added = subparsers.add_parser(command.name, help=command.about, description=command.about)
        added.set_defaults(command=command.run)
        command.arguments(added)
    return parser


if __name__ == "__main__":
    sys.exit(main())
