"""The parts and the recipe of a row, as they were resolved: one line a config group, with its values below."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from zoo.catalog.entry import Entry
from zoo.catalog.resolved import resolved_entry
from zoo.results.report.contents import Page
from zoo.types import Json

GROUPS = ("detector", "backbone", "neck", "head", "loss", "schedule", "initial", "protocol")
"""The config groups that a row is composed of, in the order of the data, the recipe of its training behind them."""

_LONGEST = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """What a row has of one config group.

    Attributes:
        group: name of the group.
        option: the choice of the row; empty where it is not known.
        summary: class and plain values on one line.
        values: everything, as YAML.
    """

    group: str
    option: str
    summary: str
    values: str


def composition_of(page: Page) -> tuple[str, list[Component]]:
    """Where the composition of a page is known from, and its parts.

    That of the newest run counts, and of a row that was never run what the catalogue says.

    Raises:
        UsageError: the entry refers to something that is not in the catalogue.
    """
    resolved = [run.record for run in page.runs if _has_groups(run.record.protocol.config)]
    if resolved:
        last = max(resolved, key=lambda record: record.times.finished or "")
        return "as the run resolved it", _components(last.protocol.config, page.entry, last.identity.changes)
    if page.entry is None:
        return "", []
    return "as the catalogue has it", _components(resolved_entry(page.name), page.entry, ())


def _has_groups(config: Mapping[str, Json]) -> bool:
    return any(isinstance(config.get(group), Mapping) for group in GROUPS)


def _components(config: Mapping[str, Any], entry: Entry | None, changes: tuple[str, ...]) -> list[Component]:
    changed = {change.split("=", 1)[0].split(".")[0] for change in changes}
    parts = entry.parts if entry else {}
    return [
        Component(
            group=group,
            option="changed" if group in changed else parts.get(group, ""),
            summary=_summary(values),
            values=yaml.safe_dump(_bare(values), sort_keys=False, allow_unicode=True, width=100),
        )
        for group in GROUPS
        if isinstance(values := config.get(group), Mapping)
    ]


def _bare(node: Any) -> Any:
    """Values with bare class names under `class`: no path of a module says anything of a model."""
    if isinstance(node, Mapping):
        named = {"class": _class_name(node["_target_"])} if "_target_" in node else {}
        return named | {str(key): _bare(value) for key, value in node.items() if key != "_target_"}
    if isinstance(node, list | tuple):
        return [_bare(item) for item in node]
    return node


def _class_name(target: Any) -> str:
    return str(target).rsplit(".", 1)[-1]


def _summary(values: Mapping[str, Any]) -> str:
    """The class, and the plain values that fit on a line."""
    words: list[str] = []
    for key, value in values.items():
        if key == "_target_":
            words.insert(0, _class_name(value))
        elif isinstance(value, str | int | float) and not isinstance(value, bool) and key not in ("name", "version"):
            words.append(f"{key} {value}")
        elif isinstance(value, Mapping) and ("_target_" in value or "name" in value):
            words.append(f"{key} {_class_name(value.get('_target_', value.get('name')))}")
    text = ""
    for word in words:
        if text and len(text) + len(word) > _LONGEST:
            return f"{text}, …"
        text = f"{text}, {word}" if text else word
    return text
