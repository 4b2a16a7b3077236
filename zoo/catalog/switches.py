"""What could have been otherwise when a zoo's numbers were made: the short list that its own code and documents name.

A list is one YAML file a zoo, `conf/protocol/switches/<zoo>.yaml`. A switch changes one named thing, which may take
several overrides. `zoo explain` tries them one at a time; no verdict names anything that is not on the list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from zoo.catalog.entry import config_file
from zoo.errors import UsageError
from zoo.schema import build

GROUP = "protocol/switches"

RESCORE = "rescore"
"""What overrides begin with that change nothing but how stored detections are scored."""

Tier = Literal[1, 2]
"""1 scores stored detections again, 2 runs the detector again."""

_MISSING = object()

_STEP = "correct the file; its keys are documented in zoo/catalog/switches.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """One named thing that could have been otherwise.

    Attributes:
        name: what it is called.
        overrides: `KEY=VALUE`, all of which belong to it. A `*` in a key stands for every part of a row that has the
            rest of the key; a key that begins with `+` is new, and the mapping that takes it must be there. Of two
            values of one key that counts which the row does not have.
        source: the zoo's own document or module that names it.
        device: kind of device that it needs; None: any.
        where: a setting that a row must have for the switch to be its own; None: any row.
    """

    name: str
    overrides: tuple[str, ...]
    source: str
    device: Literal["cuda"] | None = None
    where: str | None = None

    def __post_init__(self) -> None:
        wrong = [override for override in self.overrides if "=" not in override]
        if wrong or not self.overrides:
            raise ValueError(f"{self.name}: {wrong[0] if wrong else 'no override'} is not KEY=VALUE")
        if len({_rescores(override) for override in self.overrides}) > 1:
            raise ValueError(f"{self.name}: a switch either scores again or runs again")

    @property
    def tier(self) -> Tier:
        """Whether stored detections are enough to try it."""
        return 1 if _rescores(self.overrides[0]) else 2

    def applied(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Its overrides for one composition, without those that have no place in it or change nothing.

        Args:
            config: composed configuration.
        """
        if self.where is not None and not _has(self.where, config):
            return ()
        found: dict[str, str] = {}
        for override in self.overrides:
            for one in _applied(override, config):
                found.setdefault(key_of(one), one)  # of several values of a key the first that the row has not
        return tuple(found.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchList:
    """The file of a zoo.

    Attributes:
        switches: in the order in which they are tried.
    """

    switches: tuple[Switch, ...]

    def __post_init__(self) -> None:
        names = [switch.name for switch in self.switches]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} is there twice")


def read_switches(zoo: str) -> tuple[Switch, ...]:
    """The switches of a zoo, in order; none where it has no list.

    Raises:
        UsageError: its file is faulty, which the message names.
    """
    path = config_file(GROUP, zoo)
    if path is None:
        return ()
    try:
        block = yaml.safe_load(path.read_text(encoding="utf-8"))
        return build(
            SwitchList, block, "", "correct the file; its keys are documented in zoo/catalog/switches.py"
        ).switches
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not valid YAML: {error}", next_step="correct the file") from None
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", next_step=error.next_step) from None


def key_of(override: str) -> str:
    """The dotted key that an override is of."""
    return override.partition("=")[0].lstrip("+")


def value_of(override: str) -> Any:
    """The value that an override gives."""
    return yaml.safe_load(override.partition("=")[2])


def _rescores(override: str) -> bool:
    return override.startswith(f"{RESCORE}.")


def _has(key: str, config: Mapping[str, Any]) -> bool:
    *parents, last = key.split(".")
    return any(last in node for _, node in _places(parents, config))


def _applied(override: str, config: Mapping[str, Any]) -> Iterator[str]:
    key, _, value = override.partition("=")
    if _rescores(override):
        yield override
        return
    new = key.startswith("+")
    *parents, last = key.lstrip("+").split(".")
    for names, node in _places(parents, config):
        there = node.get(last, _MISSING)
        if (new or there is not _MISSING) and there != value_of(override):
            yield f"{'+' if there is _MISSING else ''}{'.'.join((*names, last))}={value}"


def _places(
    names: list[str], node: Mapping[str, Any], before: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """The mappings that dotted names lead to, with the names that the `*` among them stands for."""
    if not names:
        yield before, node
        return
    first, *rest = names
    for name in node if first == "*" else (first,):
        inner = node.get(name)
        if isinstance(inner, Mapping):
            yield from _places(rest, inner, (*before, name))
