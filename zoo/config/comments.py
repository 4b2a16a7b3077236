"""What the files of conf/ say about themselves: the comments at their head and behind their keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from zoo.catalog.entry import conf_dir, config_file, config_files
from zoo.config.compose import PART_GROUPS

GROUPS = (*PART_GROUPS, "data", "run")
"""Config groups that a command line may choose from."""


def groups() -> dict[str, str]:
    """Every config group -> what it is, as conf/config.yaml says."""
    said = comments(conf_dir() / "config.yaml")
    return {group: said.get(f"defaults.{group}", "") for group in GROUPS}


def options(group: str) -> list[str]:
    """The names that a config group may be given."""
    return [path.stem for path in config_files(group)]


def described(entry_config: Mapping[str, Any], parts: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Every setting of a composed configuration in order: its dotted name, its value, what it means.

    Args:
        entry_config: composed configuration, all interpolations resolved.
        parts: config group -> option that was chosen.
    """
    about: dict[str, str] = {}
    for group, option in parts.items():
        about |= {f"{group}.{key}": text for key, text in _inherited(group, option).items() if key}
    about |= _about_settings()
    for key, value in leaves({key: value for key, value in entry_config.items() if key != "entry"}):
        yield key, value, about.get(key, "")


def _about_settings() -> dict[str, str]:
    """The settings that have a schema, by dotted name."""
    from zoo.config.settings import Settings
    from zoo.schema import fields_of
    from zoo.train.schedule import Schedule

    fields = [*fields_of(Settings), *fields_of(Schedule, "schedule")]
    return {field.key: field.description for field in fields}


def _inherited(group: str, option: str) -> dict[str, str]:
    """The comments of an option, on top of those of the options that it begins with."""
    path = config_file(group, option)
    if path is None:
        return {}
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    bases = [item for item in document.get("defaults") or () if isinstance(item, str) and item != "_self_"]
    return {key: text for base in bases for key, text in _inherited(group, base).items()} | comments(path)


@cache
def comments(path: Path) -> dict[str, str]:
    """The comments of a YAML file by the dotted name of the key whose line they end; "" is the one at its head."""
    text = path.read_text(encoding="utf-8")
    ends: dict[int, int] = {}
    for token in yaml.scan(text):
        if token.start_mark.index < token.end_mark.index:
            ends[token.end_mark.line] = max(ends.get(token.end_mark.line, 0), token.end_mark.column)
    lines = text.splitlines()
    behind = {line: lines[line][end:].strip() for line, end in ends.items()}
    found = {"": _head(lines)} if _head(lines) else {}
    seen: set[int] = set()
    for key, line in _keys(yaml.compose(text), ""):
        comment = behind.get(line, "")
        if comment.startswith("#") and line not in seen:  # of several keys on a line the first, which holds the others
            found[key] = comment.lstrip("# ")
        seen.add(line)
    return found


def _head(lines: list[str]) -> str:
    """The comment that a file begins with, without Hydra's directives."""
    said = []
    for line in lines:
        if not line.startswith("#"):
            break
        if not line.startswith("# @"):
            said.append(line.lstrip("# "))
    return " ".join(said)


def _keys(node: yaml.Node | None, prefix: str) -> Iterator[tuple[str, int]]:
    """Dotted name and line of every key; items of a list have the name of the list."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = f"{prefix}.{key.value}" if prefix else str(key.value)
            yield name, key.start_mark.line
            yield from _keys(value, name)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _keys(item, prefix)


def leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted name and value of everything that is not a mapping, the value as an override would write it."""
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from leaves(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, written(node)


def written(value: object) -> str:
    """A value as an override would write it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(written, value))}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{written(item)}" for key, item in value.items()) + "}"
    return "null" if value is None else str(value)
