"""The weights that a row's training begins with, read from its YAML without Hydra."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml

from zoo.catalog.entry import Checkpoint, Entry, config_file
from zoo.errors import UsageError


def initial_checkpoint(entry: Entry) -> Checkpoint | None:
    """The file that a training of an entry begins with; None where it is none, or the row's own published one.

    Raises:
        UsageError: the YAML that the entry names is not there or faulty.
    """
    option = entry.parts.get("initial")
    if option is None:
        return None
    path = config_file("initial", option)
    if path is None:
        raise UsageError(f"{entry.name}: no initial weights {option!r}", next_step="see conf/initial/ for all of them")
    return _read(path)


@cache
def _read(path: Path) -> Checkpoint | None:
    block = yaml.safe_load(path.read_text(encoding="utf-8"))
    if isinstance(block, dict) and isinstance(block.get("urls"), str):  # refers to the entry's own
        return None
    return Checkpoint.from_mapping(block, f"initial of {path.name}")
