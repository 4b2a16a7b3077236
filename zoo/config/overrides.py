"""The command line of a run, checked before Hydra composes anything: entries, settings, sweeps."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from zoo.catalog.entry import conf_dir, entry_names, resolve, unknown_entry
from zoo.config.compose import PART_GROUPS, without_null
from zoo.errors import UsageError, closest

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
        known = [path.stem for path in (conf_dir() / group).glob("*.yaml")]
        return UsageError(f"no option {option!r} of {group} ({closest(option, known)})", next_step=NEXT_STEP)
    key = re.search(r"Could not override '([^']+)'", text)
    if key:
        return UsageError(f"no setting {key[1]!r} ({closest(key[1], settings())})", next_step=NEXT_STEP)
    return UsageError(text, next_step=NEXT_STEP)


def settings() -> dict[str, str]:
    """Every setting of a run that does not belong to a part, dotted, with its default."""
    import yaml

    def read(path: Path) -> Any:
        return yaml.safe_load(path.read_text(encoding="utf-8"))

    config = {k: v for k, v in read(conf_dir() / "config.yaml").items() if k not in ("defaults", "hydra")}
    return dict(_flat(config | {"data": read(conf_dir() / "data" / "coco2017.yaml")}))


def _flat(node: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found = []
    for key, value in node.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", "null" if value is None else str(value)))
    return found
