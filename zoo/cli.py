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
from zoo.errors import UsageError, ZooError, closest


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0 done, 1 the answer is no or something was not to be had, 2 usage.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        options = _parser().parse_args(arguments)
        command: Callable[[argparse.Namespace], int] = options.command
        status = command(options)
        sys.stdout.flush()  # here, where a closed pipe can still be answered for
    except ZooError as error:
        print(f"error: {error.message}\nnext: {error.next_step}", file=sys.stderr)
        return error.exit_status
    except SystemExit as stop:  # argparse has said what there is to say
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader (`| head`) has gone; nothing may be written at interpreter exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


class _Parser(argparse.ArgumentParser):
    """argparse, with errors in this project's two lines and the closest command."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, next_step=f"see `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            near = closest(str(value), [str(choice) for choice in action.choices])
            self.error(f"no {action.metavar or action.dest} {value!r}; {near}")


class _Version(argparse.Action):
    """Prints the version; looked up only when asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from zoo.runtime.provenance import zoo_version

        print(f"zoo {zoo_version()}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="zoo", description="Published detection model zoos, measured again.")
    parser.add_argument("--version", action=_Version)
    subparsers = parser.add_subparsers(title="commands", metavar="command", required=True)
    for command in commands():
        added = subparsers.add_parser(command.name, help=command.about, description=command.about)
        added.set_defaults(command=command.run)
        command.arguments(added)
    return parser


if __name__ == "__main__":
    sys.exit(main())
