"""`zoo run` and `zoo train`: `python -m zoo.bench` by shorter words."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from zoo.catalog.entry import entry_names
from zoo.commands.command import Command, completed
from zoo.commands.completers import entries_and_settings
from zoo.commands.selection import select
from zoo.errors import UsageError


def run_arguments(arguments: Sequence[str]) -> list[str]:
    """The command line of `python -m zoo.bench` that one of `zoo run` means.

    Args:
        arguments: entries, zoos and globs; `key=value`; flags of Hydra, in any order.

    Raises:
        UsageError: several entries without `-m`, a name that nothing fits, or an unknown flag.
    """
    from zoo.config.overrides import MULTIRUN, settings, split_flags

    flags, others = split_flags(arguments)
    # What has no "=" is a name, but for Hydra's way of leaving a part out.
    words = [word for word in others if "=" not in word and not word.startswith("~")]
    overrides = [word for word in others if word not in words]
    known = settings()
    for word in words:
        if word in known:
            raise UsageError(f"{word} is a setting, not an entry", next_step=f"write {word}=VALUE")
    if not words:
        return [*flags, *overrides]
    entries = _entries(words)
    if len(entries) > 1 and not any(flag in MULTIRUN for flag in flags):
        step = "add -m to run one after another"
        raise UsageError(f"{' '.join(words)}: {len(entries)} entries", next_step=step)
    return [*flags, f"entry={','.join(entries)}", *overrides]


def _entries(words: Sequence[str]) -> list[str]:
    """The entries that words mean; a single model's name is left to the runner, which says in which zoos it is."""
    if len(words) == 1 and not set("*?[") & set(words[0]) and not _is_zoo(words[0]):
        return list(words)
    return [entry.name for entry in select(words)]


def _is_zoo(word: str) -> bool:
    return any(name.split("_", 1)[0] == word for name in entry_names())


def _run(options: argparse.Namespace) -> int:
    from zoo.bench import main

    return main(run_arguments(options.arguments))


def _train(options: argparse.Namespace) -> int:
    from zoo.bench import main

    arguments = run_arguments(options.arguments)
    for argument in arguments:
        if argument.startswith("run="):
            raise UsageError(f"zoo train is run=train; {argument} is given as well", next_step="use zoo run for that")
    return main([*arguments, "run=train"])


def _arguments(parser: argparse.ArgumentParser) -> None:
    words = parser.add_argument("arguments", nargs="*", metavar="ENTRY [key=value ...] [-m]")
    completed(words, entries_and_settings)


COMMANDS = (
    Command(
        name="run",
        theme="runs",
        about="measure entries and hold them against their published numbers",
        run=_run,
        arguments=_arguments,
        own_line=True,
    ),
    Command(
        name="train",
        theme="runs",
        about="train an entry by its recipe, then measure it",
        run=_train,
        arguments=_arguments,
        own_line=True,
    ),
)
