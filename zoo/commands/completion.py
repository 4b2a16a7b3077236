"""`zoo completion`: what makes a shell complete commands, entries and settings; argcomplete does the work."""

from __future__ import annotations

import argparse

from zoo.commands.command import Command

WHERE = {
    "bash": 'eval "$(zoo completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(zoo completion zsh)"    # in ~/.zshrc, after compinit',
    "fish": "zoo completion fish | source    # in ~/.config/fish/config.fish",
}
"""Shell -> the line that turns completion on, and the file it goes into."""


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks how its line may go on, and leave; called where the environment says that one does."""
    import argcomplete

    argcomplete.autocomplete(parser)


def _completion(options: argparse.Namespace) -> int:
    from argcomplete.shell_integration import shellcode

    print(shellcode(["zoo"], shell=options.shell))
    return 0


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "\n".join(
        ["turned on by a line in the shell's own file:", *(f"  {line}" for line in WHERE.values())]
    )
    parser.add_argument("shell", choices=tuple(WHERE), metavar="bash|zsh|fish")


COMMANDS = (
    Command(
        name="completion",
        theme="shell",
        about="completion of commands, entries and settings",
        run=_completion,
        arguments=_arguments,
    ),
)
