"""What records are called where they are not the row's own, and when two of one name are one and the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from zoo.results.identity import digest, slug
from zoo.results.record import Record
from zoo.types import Json

LONGEST_NAME = 120
"""Characters of a name made of what differs; beyond them a hash stands for the rest."""


def local_name(record: Record) -> str:
    """A readable name made of what differs from the row: composition, condition, seed, weights and data."""
    identity, words = record.identity, [record.entry]
    other_data = record.data is not None and not record.data.known
    conditions = [
        item
        for item in identity.conditions
        # what the words for seed and data say
        if not (record.trained and item.startswith("seed=")) and not (other_data and _describes_data(item))
    ]
    words += [slug(item) for item in (*identity.changes, *conditions)]
    if record.trained:
        words.append(f"trained+seed-{record.seed}")
    if record.other_weights:
        words.append(_weights_word(record))
    if other_data or record.other_training_data is not None:
        words.append(_data_word(record))
    return "+".join(words)


def _describes_data(condition: str) -> bool:
    return condition.startswith("data.") and not condition.startswith(("data.limit=", "data.train.limit="))


def _weights_word(record: Record) -> str:
    """The name of the weights' file: the one that was asked for, and of a training the one that it began with."""
    asked = record.protocol.config.get("checkpoint")
    given = (asked.get("path") or asked.get("url")) if isinstance(asked, Mapping) else None
    found = given or (record.checkpoint.path if record.checkpoint else None) or "weights"
    return slug(PurePosixPath(str(found)).stem)


def _data_word(record: Record) -> str:
    """The name of the data, and that of its folder, or of its annotation file where it has no folder of its own."""
    asked = record.protocol.config.get("data")
    config: Mapping[str, Json] = asked if isinstance(asked, Mapping) else {}
    name = record.data.name if record.data else str(config.get("name", "data"))
    place = PurePosixPath(str(config.get("root") or config.get("annotations") or name)).stem
    return slug(f"data-{name}" if place == name else f"data-{name}-{place}")


def subject_of(record: Record) -> dict[str, Json]:
    """What a run of a name was of, by content: its composition, weights and data. A training's weights are its start.

    Two runs that would be called alike are one and the same where this is equal.
    """
    training, identity = record.protocol.training or {}, record.identity
    begun_with = training.get("init_from")
    if record.trained:
        weights = begun_with.get("sha256") if isinstance(begun_with, Mapping) else begun_with
    else:
        weights = record.checkpoint.sha256 if record.checkpoint else None
    return {
        "entry": record.entry,
        "row": [identity.scheme, identity.row],
        "condition": {key: value for key, value in identity.condition.items() if key != "device"},
        "weights": weights,
        "data": record.data.annotations_sha256 if record.data else None,
        "training data": training.get("annotations_sha256"),
    }


def different_run(there: Record, record: Record) -> str | None:
    """How a run that has a name differs from one that is about to begin, as the end of a sentence."""
    before, after = subject_of(there), subject_of(record)
    if before["entry"] != after["entry"]:
        return f"of {there.entry}"
    if before["row"] != after["row"]:
        return "of another composition"
    if before["condition"] != after["condition"]:
        return f"under other conditions ({', '.join(there.identity.conditions) or 'those of the row'})"
    return None


def bounded(name: str) -> str:
    """A name that is fit for a file: of a long one the beginning, and a hash of the whole."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 9]}+{digest(name)[:8]}"
