"""The command line of a run, checked before Hydra composes anything: entries, settings, sweeps."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.catalog.entry import conf_dir, entry_names, resolve, unknown_entry
from zoo.config.compose import PART_GROUPS, without_null
from zoo.errors import UsageError, closest

if TYPE_CHECKING:
    from zoo.schema import FieldInfo

SWEEP_DIR = "hydra.sweep.dir="

NEXT_STEP = "see `python -m zoo.bench --help` for the settings, and the folders of conf/ for the options"


@dataclass(frozen=True, slots=True)
class Arguments:
    """A command line that can be handed to Hydra.

    Attributes:
        given: flags and overrides; every entry by its full name.
        sweep_dir: where the jobs of a sweep leave their records; None for a single run.
    """

    given: list[str]
    sweep_dir: Path | None


def check(arguments: Sequence[str]) -> Arguments:
    """Check a command line. `--multirun` without an entry means the whole zoo.

    Raises:
        UsageError: no entry, an unknown one, a pattern that fits none, or an unknown setting of a part.
    """
    given = [without_null(argument) for argument in arguments]
    multirun = any(argument in ("-m", "--multirun") for argument in given)
    if multirun and not any(argument.startswith("entry=") for argument in given):
        given.append("entry=glob(*)")
    entries: list[str] = []
    for i, argument in enumerate(given):
        if argument.startswith("entry="):
            given[i], named = _entries(argument)
            entries += named
    if not entries:
        raise UsageError("no entry named", next_step="add entry=NAME (see `zoo list`), or --multirun for the whole zoo")
    if not multirun:
        return Arguments(given, None)
    chosen = [argument.removeprefix(SWEEP_DIR) for argument in given if argument.startswith(SWEEP_DIR)]
    sweep_dir = Path(chosen[-1] if chosen else f"multirun/{datetime.now():%Y-%m-%d_%H-%M-%S}").absolute()
    return Arguments([*_deferred(given, entries[0]), f"{SWEEP_DIR}{sweep_dir}"], sweep_dir)


def _entries(override: str) -> tuple[str, list[str]]:
    """An `entry=` override with full names, and the entries it stands for."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ChoiceSweep, Glob
    from hydra.errors import HydraException

    try:
        value = OverridesParser.create().parse_override(override).value()
    except HydraException as error:
        raise UsageError(f"{override}: {error}", next_step="quote the override for the shell") from None
    if isinstance(value, Glob):
        found = value.filter(entry_names())
        if not found:
            raise unknown_entry(" ".join(value.include))
        return override, found
    names = [str(name) for name in value.list] if isinstance(value, ChoiceSweep) else [str(value)]
    full = [_full_name(name) for name in names]
    return "entry=" + ",".join(full), full


def _full_name(model: str) -> str:
    name, others = resolve(model)
    if others:
        print(f"{model}: running {name}; also in the zoo: {', '.join(others)}", file=sys.stderr)
    return name


def _deferred(arguments: Sequence[str], entry: str) -> list[str]:
    """A sweep's overrides of settings inside parts, made so that Hydra accepts them before an entry is chosen.

    Hydra composes a sweep once without its swept choices: no entry, hence no parts, and an override
    inside one would be refused as unknown. `++` defers it to the jobs, and gives up Hydra's check of
    the name, which is made here on one of the entries instead.
    """
    inside = re.compile(rf"({'|'.join(PART_GROUPS)})\.[\w.]+=")
    if not any(inside.match(argument) for argument in arguments):
        return list(arguments)
    from zoo.config.compose import compose

    config = compose(entry)
    for argument in filter(inside.match, arguments):
        _check_setting(argument.split("=", 1)[0], config)
    return [f"++{argument}" if inside.match(argument) else argument for argument in arguments]


def _check_setting(key: str, config: Mapping[str, Any]) -> None:
    node: Any = config
    for name in key.split("."):
        if not isinstance(node, Mapping) or name not in node:
            known = list(node) if isinstance(node, Mapping) else []
            raise UsageError(f"no setting {key!r}: {name!r} ({closest(name, known)})", next_step=NEXT_STEP)
        node = node[name]


def usage_error(error: Exception) -> UsageError:
    """What Hydra says of an override, in one line, with the closest names."""
    text = " ".join(str(error).split())
    missing = re.search(r"Could not find '([\w/]+)/([^']+)'", text)
    if missing:
        group, option = missing.groups()
        return UsageError(f"no option {option!r} of {group} ({closest(option, _options(group))})", next_step=NEXT_STEP)
    key = re.search(r"Could not override '([^']+)'", text)
    if key:
        return UsageError(f"no setting {key[1]!r} ({closest(key[1], settings())})", next_step=NEXT_STEP)
    return UsageError(text, next_step=NEXT_STEP)


def settings() -> dict[str, str]:
    """Every setting of a run that belongs to no part: dotted name -> "what it holds [default]: what it means"."""
    from zoo.config.settings import Settings
    from zoo.schema import REQUIRED, fields_of

    fields = list(fields_of(Settings))
    blocks = {field.key.rpartition(".")[0] for field in fields}
    found: dict[str, str] = {}
    for field in fields:
        if field.key not in blocks and field.key != "run.name":
            default = "" if field.default is REQUIRED else f" [{_default(field.default)}]"
            found[field.key] = f"{field.type}{default}: {field.description}"
    return found | {"run": f"{' | '.join(_options('run'))} [evaluate]: {_of(fields, 'run')}"}


def _options(group: str) -> list[str]:
    """The names that a config group may be given."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


def _of(fields: Iterable[FieldInfo], key: str) -> str:
    return next(field.description for field in fields if field.key == key)


def _default(value: object) -> str:
    """A default as an override would write it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)
