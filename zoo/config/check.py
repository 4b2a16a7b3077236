"""Whether an entry is sound: `zoo check`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.catalog.entry import METRICS, Entry, config_file, read_entry
from zoo.catalog.keys import KeyList, find_key_list
from zoo.coco_tasks import TASKS
from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.errors import ZooError
from zoo.fetch.hashes import published_prefix_from_name

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.models.detectors.base import Detector

PARAMETERS = {"params_m": 1e6, "params": 1}
"""The published metrics that count parameters, and what of them is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was found of an entry.

    Attributes:
        problems: everything that is wrong with it.
        missing: what it does not have yet, and may go without.
        facts: what was looked at, in words.
        keys: names and shapes of the checkpoint that was looked at; None where the entry has none yet.
    """

    problems: list[str]
    missing: list[str]
    facts: list[str]
    keys: KeyList | None


def check_entry(name: str, checkpoint: Path | None = None) -> Checked:
    """Compose an entry, build it without storage, and hold it against everything that is known of its checkpoint.

    Args:
        name: the entry.
        checkpoint: its published file, whose names and shapes are taken instead of the stored list of them.

    Raises:
        UsageError: there is no such entry, or its YAML is faulty; nothing else can be looked at then.
    """
    entry = read_entry(name)
    checked = Checked(problems=list(_faults(entry)), missing=list(_missing(entry)), facts=[], keys=None)
    try:
        config = compose(name)
        detector = _without_storage(config)
        parameters = sum(parameter.numel() for parameter in detector.parameters())
        checked.facts.append(f"{parameters:,} parameters, {len(detector.classes)} classes")
        checked.problems.extend(_wrong_count(entry, parameters))
        tensors = _tensors(entry, checkpoint)
    except ZooError as error:
        checked.problems.append(f"{error.message} ({error.next_step})")
        return checked
    if tensors is None:
        checked.missing.append("list of the checkpoint's keys (zoo check ENTRY --checkpoint FILE --store makes it)")
        return checked
    keys, listed = tensors
    if listed not in (None, parameters):
        checked.problems.append(f"{parameters:,} parameters, where the list of keys has {listed:,}")
    checked.facts.append(f"{len(keys)} tensors of the checkpoint")
    _convert(entry, detector, keys, checked)
    found = KeyList(parameters=parameters, shapes={key: tuple(tensor.shape) for key, tensor in keys.items()})
    return Checked(problems=checked.problems, missing=checked.missing, facts=checked.facts, keys=found)


def _faults(entry: Entry) -> Iterator[str]:
    """What is wrong with the block of an entry, taken by itself."""
    for group, option in entry.parts.items():
        if config_file(group, option) is None:
            yield f"override /{group}: no option {option!r}"
    for url in entry.checkpoint.urls:
        if not re.match(r"https?://|package:", url):
            yield f"checkpoint.urls: {url!r} is no address"
        announced = published_prefix_from_name(url)
        known = entry.checkpoint.sha256 or entry.checkpoint.sha256_prefix
        if announced and not (known or "").startswith(announced) and not announced.startswith(known or "-"):
            yield f"checkpoint.urls: {url} announces sha256 {announced}..., which the entry does not have"
    twice = [cell for i, cell in enumerate(entry.published) if cell in entry.published[:i]]
    for cell in twice:
        yield f"published: {cell.metric} {cell.text} of {cell.source} is there twice"
    for cell in entry.published:
        if cell.metric.endswith(("fps", "memory_gb", "latency_ms")) and not cell.hardware:
            yield f"published: {cell.metric} {cell.text} names no hardware"
        if METRICS[cell.metric] == "AP points" and cell.value > 100:
            yield f"published: {cell.metric} {cell.text} is over 100 points"


def _missing(entry: Entry) -> Iterator[str]:
    if not entry.checkpoint.urls:
        yield "address of a checkpoint (a run takes checkpoint.path=FILE)"
    elif not (entry.checkpoint.sha256 or entry.checkpoint.sha256_prefix):
        yield "published hash (the first download is pinned)"
    if not any(entry.cells(task.ap) for task in TASKS.values()):
        yield "published AP (there is nothing to compare with)"


def _without_storage(config: Mapping[str, Any]) -> Detector:
    from zoo.models.layers.skip_init import SkipInit

    with SkipInit("meta"):
        return build_model(config, config["entry"].get("classes") or config["data"]["classes"])


def _wrong_count(entry: Entry, parameters: int) -> Iterator[str]:
    for metric, one in PARAMETERS.items():
        for cell in entry.cells(metric):
            # Publishers count with fused normalisation or without, with the constants of a head or without.
            if abs(parameters / one - cell.value) > cell.half_unit + 0.02 * cell.value:
                printed = cell.text if one == 1 else f"{cell.text} {METRICS[metric]}"
                yield f"published: {printed} parameters, where the model has {parameters:,}"


def _tensors(entry: Entry, checkpoint: Path | None) -> tuple[dict[str, Tensor], int | None] | None:
    """The tensors of a file, or such without storage of a stored list; and the list's number of parameters."""
    from zoo.checkpoints.convert import stand_ins
    from zoo.checkpoints.keymaps import key_map
    from zoo.checkpoints.readers import read

    if checkpoint is not None:
        return dict(read(checkpoint, entry.checkpoint.format)), None
    stored = find_key_list(entry)
    if stored is None:
        return None
    listed = KeyList.read(stored)
    return stand_ins(listed.shapes, key_map(entry.checkpoint.keymap)), listed.parameters


def _convert(entry: Entry, detector: Detector, tensors: Mapping[str, Tensor], checked: Checked) -> None:
    """Note what of a checkpoint has no place in the model, what is left out of it, and what the model lacks."""
    from zoo.checkpoints.convert import convert
    from zoo.checkpoints.keymaps import key_map

    expected = {key: tuple(tensor.shape) for key, tensor in detector.state_dict().items()}
    try:
        _, report = convert(tensors, key_map(entry.checkpoint.keymap), expected)
    except ZooError as error:
        checked.problems.append(error.message)
    else:
        checked.facts.extend(f"{len(keys)} left out, {reason}" for reason, keys in report.dropped.items())
