"""The version of the tables: what they were measured by, as a short hash.

Two catalogues of one version say the same of every row: what it is, how it is measured, what was published of it.
Tables of different versions lie side by side, so that a number never changes its meaning in place.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from zoo.catalog.entry import entry_names
from zoo.catalog.resolved import resolved_entry
from zoo.measure.coco_eval import EVALUATOR_VERSION
from zoo.results.identity import Role, bare_leaves, digest, role_of

VERSION_DIGITS = 12
"""Hex digits of a version."""

_PLACES = ("entry.checkpoint.urls", "initial.urls")
"""Where files lie: what they hold is known by its hash, so that another mirror makes no other version."""


def table_version(names: Iterable[str] | None = None) -> str:
    """The version of a catalogue: a hash of resolved values and of the declared version of the evaluator.

    Comments, the order of keys, module paths, mirrors, and what only says how a run is carried out do not count.

    Args:
        names: entries that make it; None for the whole catalogue.

    Raises:
        UsageError: an entry refers to something that is not there.
    """
    entries = {name: _what_counts(name) for name in (entry_names() if names is None else names)}
    return digest({"evaluator": EVALUATOR_VERSION, "entries": entries})[:VERSION_DIGITS]


def _what_counts(name: str) -> dict[str, Any]:
    """Dotted key -> value of an entry, by the table of roles of `zoo.results.identity`."""
    leaves = bare_leaves(resolved_entry(name))
    return {key: value for key, value in leaves.items() if key not in _PLACES and role_of(key) is not Role.EXECUTION}
