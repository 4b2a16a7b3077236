"""What a run is: which row, under which condition. One table of roles decides, and everything else asks it.

Every key of a configuration has one role. Resolved values count: a setting that says what the row says
anyway changes nothing, whether it was written or not. Module paths never count, so that moving a class
orphans no record.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, TypeAlias

from zoo.runtime.provenance import bare_names

Scalar: TypeAlias = str | int | float | bool | None

SCHEME = 2
"""Version of how identities are made; those of another version cannot be told equal or different."""


class Role(StrEnum):
    """What a changed value of a key makes of a run."""

    ROW = "row"
    """Another model, protocol or recipe: recorded under another name, with the row that it is based on."""

    CONDITION = "condition"
    """The same row under other circumstances: a record of its own beside the row's."""

    EXECUTION = "execution"
    """Nothing: it must not change a number. Data and weights are known by their content, not by where they lie."""

    SPEED = "speed"
    """How much is timed: belongs to the speed of a record alone, and never files one apart."""


ROLES: Mapping[str, Role] = {
    **dict.fromkeys(
        ("entry", "detector", "backbone", "neck", "head", "loss", "schedule", "initial", "protocol"), Role.ROW
    ),
    "rescore": Role.ROW,  # stored detections, scored by another rule
    "protocol.fold_batch_norm": Role.CONDITION,
    "protocol.channels_last": Role.CONDITION,
    "precision": Role.CONDITION,
    "batch_size": Role.CONDITION,
    "mode": Role.CONDITION,
    "evaluator": Role.CONDITION,
    "device": Role.CONDITION,  # by its kind
    "data": Role.CONDITION,
    **dict.fromkeys(("data.root", "data.annotations", "data.images"), Role.EXECUTION),
    **dict.fromkeys(("data.train.annotations", "data.train.images", "data.annotations_size"), Role.EXECUTION),
    "checkpoint.classes": Role.CONDITION,
    "run": Role.CONDITION,
    "run.max_steps": Role.ROW,  # a training that is cut short is another recipe
    **dict.fromkeys(("run.resume", "run.checkpoint_every", "run.evaluate_every"), Role.EXECUTION),
    "speed": Role.SPEED,
    **dict.fromkeys(("name", "measure", "resume", "sweep"), Role.EXECUTION),
    **dict.fromkeys(("workers", "image_cache_gb", "seed", "checkpoint", "results"), Role.EXECUTION),
}
"""Key -> role; of a nested key the longest prefix that is here counts."""

TRAINING_ROLES: Mapping[str, Role] = {**ROLES, "seed": Role.CONDITION}
"""The same where a model is trained: there the seed is a draw of its own."""

OF_TRAINING = "data.train"
"""What an evaluation does not depend on."""

DESCRIPTION = "entry"
"""The row's block: what it is called and what was published of it makes no other row."""

MAKES_THE_ROW = ("entry.name", "entry.classes")
"""What of that block is part of the row's hash."""

FACTS_OF_THE_DATA = ("data.num_images", "data.classes", "data.annotations_sha256")
"""What follows from the name of a data set, and is not shown beside it."""

SHOWN_CHANGES = 3
"""How many changes of a row its label names."""

OF_THE_SPLIT = "data.split"
"""The one condition of the data that leaves it known: any other makes a trial of its own."""

AFTER_TRAINING = (
    *("seed", "device", "evaluator", "mode", OF_THE_SPLIT),
    *("protocol.fold_batch_norm", "protocol.channels_last"),
)
"""Conditions that leave the recipe of a training as it is."""

UNSAID: Mapping[str, Scalar] = {"mode": "eager"}
"""Key -> the value of it that is no part of an identity: what every run had before the key was there."""

COMPARED_ANYWAY = ("device", "evaluator")
"""Conditions that published accuracy does not name: runs that differ in them are filed apart, and compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a run is, next to the row it is a run of.

    Attributes:
        scheme: version of how the values below are made.
        row: sha256 over everything that makes the row: names and values, no module paths.
        condition: value of every key that is a condition, by its dotted name, but for the mode where it is
            eager; of a list its sha256.
        changes: keys of the row that have another value than the row's own, as `key=value`.
        conditions: keys of the condition likewise, in the order of the table.
    """

    scheme: int = SCHEME
    row: str | None = None
    condition: Mapping[str, Scalar] = field(default_factory=dict)
    changes: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()

    def on(self, device: str) -> Identity:
        """The same on a kind of device, which is known only when the run begins."""
        return replace(self, condition={**self.condition, "device": device})

    @property
    def differences(self) -> tuple[str, ...]:
        """What differs from the row, its composition first; of many changes the first ones, and how many there are."""
        more = len(self.changes) - SHOWN_CHANGES
        shown = self.changes if more <= 0 else (*self.changes[:SHOWN_CHANGES], f"{more} more changes")
        return (*shown, *self.conditions)

    @property
    def trials(self) -> tuple[str, ...]:
        """The conditions that make a trial of a run: other data, or of a training another recipe."""
        training = self.condition.get("run.name") == "train"

        def is_trial(key: str) -> bool:
            return (within(key, "data") and key != OF_THE_SPLIT) or (training and key not in AFTER_TRAINING)

        return tuple(item for item in self.conditions if is_trial(item.split("=", 1)[0]))

    @property
    def unlike_published(self) -> tuple[str, ...]:
        """The conditions under which a number is shown, and not compared."""
        return tuple(item for item in self.conditions if item.split("=", 1)[0] not in COMPARED_ANYWAY)


def role_of(key: str, *, training: bool = False) -> Role:
    """The role of a dotted key.

    Raises:
        KeyError: the key is in no group of the table.
    """
    roles = TRAINING_ROLES if training else ROLES
    parts = key.split(".")
    for length in range(len(parts), 0, -1):
        role = roles.get(".".join(parts[:length]))
        if role is not None:
            return role
    raise KeyError(key)


def identify(config: Mapping[str, Any], own: Mapping[str, Any]) -> Identity:
    """The identity of a run.

    Args:
        config: its composed configuration, with every "auto" resolved.
        own: that of its row without any override, likewise resolved, for the same kind of run.
    """
    training = (config.get("run") or {}).get("name") == "train"
    ours, theirs = _relevant(config, training), _relevant(own, training)
    row = {
        key: value
        for key, value in ours.items()
        if role_of(key, training=training) is Role.ROW and (key in MAKES_THE_ROW or not within(key, DESCRIPTION))
    }
    condition = {key: value for key, value in ours.items() if role_of(key, training=training) is Role.CONDITION}
    differing = [key for key in dict.fromkeys((*ours, *theirs)) if ours.get(key) != theirs.get(key)]

    other_data = "data.name" in differing

    def shown(role: Role) -> tuple[str, ...]:
        chosen = [key for key in differing if role_of(key, training=training) is role]
        chosen = [key for key in chosen if not (other_data and any(within(key, fact) for fact in FACTS_OF_THE_DATA))]
        return tuple(f"{key}={_text(ours.get(key, UNSAID.get(key)))}" for key in chosen)

    return Identity(
        row=digest(row),
        condition={
            key: value if isinstance(value, str | int | float) else digest(value) for key, value in condition.items()
        },
        changes=shown(Role.ROW),
        conditions=shown(Role.CONDITION),
    )


def changed_keys(config: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys of a row or a condition that two evaluations have different values of, but for the kind of device.

    Args:
        config: composed configuration, as a record has it.
        other: likewise.
    """
    ours, theirs = _relevant(config, training=False), _relevant(other, training=False)
    different = (key for key in dict.fromkeys((*ours, *theirs)) if ours.get(key) != theirs.get(key))
    counted = (key for key in different if role_of(key) in (Role.ROW, Role.CONDITION) and key != "device")
    return tuple(key for key in counted if key in MAKES_THE_ROW or not within(key, DESCRIPTION))


def digest(values: Any) -> str:
    """The sha256 of plain values, however their mappings are ordered, with bare class names."""
    text = json.dumps([SCHEME, bare_names(values)], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_stem(entry: str, conditions: Sequence[str]) -> str:
    """The name of a record's file without its ending: the entry, and each condition that is not the row's own."""
    return "+".join((entry, *(slug(item) for item in conditions)))


def slug(item: str) -> str:
    """`protocol.fold_batch_norm=True` -> `fold_batch_norm-true`: fit for a file name, and still readable."""
    key, _, value = item.partition("=")
    text = f"{key.rsplit('.', 1)[-1]}-{value.lower()}" if value else key
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("_")


def _relevant(config: Mapping[str, Any], training: bool) -> dict[str, Any]:
    """Dotted key -> value, without what a run of this kind does not depend on, and what goes without saying."""
    found = {key: value for key, value in bare_leaves(config).items() if key not in UNSAID or value != UNSAID[key]}
    return {key: value for key, value in found.items() if training or not within(key, OF_TRAINING)}


def bare_leaves(config: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted key -> value of a configuration, with bare names, without nulls."""
    return dict(_leaves(bare_names(config)))


def within(key: str, group: str) -> bool:
    """Whether a dotted key is that of a group, or inside of it."""
    return key == group or key.startswith(f"{group}.")


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key -> value; an empty mapping is a value too, and None stands for "nothing here"."""
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value


def _text(value: Any) -> str:
    """A value as an override would write it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else json.dumps(value)
