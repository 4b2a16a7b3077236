"""The entries that a command is asked about."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from zoo.catalog.entry import Entry, entry_names, read_entry, resolve
from zoo.errors import UsageError, closest


def select(patterns: Sequence[str] = ()) -> list[Entry]:
    """The entries that zoos, names and globs mean, in catalogue order; all of them without a pattern.

    Raises:
        UsageError: a pattern that nothing fits.
    """
    from zoo.results.published import catalogue_key

    names = entry_names()
    zoos = {name.split("_", 1)[0] for name in names}
    models = {name.split("_", 1)[1] for name in names}
    chosen: set[str] = set()
    for pattern in patterns or ("*",):
        fitting = fnmatch.filter(names, f"{pattern}_*" if pattern in zoos else pattern)
        if not fitting and pattern in models:
            fitting = [resolve(pattern)[0]]
        if not fitting:
            near = closest(pattern.strip("*?"), [*names, *models, *zoos])
            raise UsageError(f"no entry fits {pattern!r}; {near}", next_step="see `zoo list` for all entries")
        chosen.update(fitting)
    return sorted(map(read_entry, chosen), key=lambda entry: catalogue_key(entry.zoo, entry.name))
