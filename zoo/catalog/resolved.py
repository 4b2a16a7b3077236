"""What an entry is composed of, read from its YAML files without Hydra: in milliseconds for the whole catalogue.

Hydra composes what runs. This reads the same files for whoever only has to tell whether two catalogues say the same;
of a defaults list it knows what the catalogue uses: the options of one's own group, `_self_`, and an entry's choices.
Interpolations (`${...}`) stay as they are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.catalog.entry import ZOO_DEFAULT, config_file, read_yaml
from zoo.errors import UsageError

_OVERRIDE = "override /"
_SELF = "_self_"


def resolved_entry(name: str) -> dict[str, Any]:
    """Config group -> the values of the option that an entry chooses; `entry` is its own block on top of its zoo's.

    Raises:
        UsageError: a file that the entry refers to is not there, or its defaults list says something unheard of.
    """
    own = _read("entry", name)
    chosen = _first_choices()
    found: dict[str, Any] = {}
    for item in own.pop("defaults", []):
        ((key, option),) = item.items()
        if key == ZOO_DEFAULT:
            found["entry"] = _option("zoo", option)
        elif key.startswith(_OVERRIDE):
            chosen[key.removeprefix(_OVERRIDE)] = option
        else:
            raise UsageError(f"entry {name}: {key!r} in its defaults list", next_step=f"write `{_OVERRIDE}GROUP`")
    found |= {group: _option(group, option) for group, option in chosen.items() if option is not None}
    return _merged(found, own)


def _first_choices() -> dict[str, str | None]:
    """What the configuration chooses before an entry does: the groups of parts and the data."""
    path = config_file("", "config")
    items = read_yaml(path).get("defaults", []) if path else []
    pairs = [next(iter(item.items())) for item in items if isinstance(item, Mapping)]
    return {group: option for group, option in pairs if group not in ("entry", "run") and "/" not in group}


def _option(group: str, option: str) -> dict[str, Any]:
    """An option of a group on top of those that its defaults list names; without `_self_` it comes last itself."""
    own = _read(group, option)
    defaults = own.pop("defaults", [])
    found: dict[str, Any] = {}
    for item in defaults if _SELF in defaults else [*defaults, _SELF]:
        if not isinstance(item, str):
            raise UsageError(f"{group} {option}: {item!r} in its defaults list", next_step=f"name options of {group}")
        found = _merged(found, own if item == _SELF else _option(group, item))
    return found


def _read(group: str, option: str) -> dict[str, Any]:
    path: Path | None = config_file(group, option)
    if path is None:
        raise UsageError(f"no {group} {option!r}", next_step="correct the defaults list that names it")
    return dict(read_yaml(path))


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings merge key by key, anything else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        there = merged.get(key)
        merged[key] = _merged(there, value) if isinstance(there, Mapping) and isinstance(value, Mapping) else value
    return merged
