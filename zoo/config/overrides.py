"""The command line of a run, checked before Hydra composes anything: entries, settings, sweeps."""

from __future__ import annotations

import fnmatch
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.catalog.entry import entry_names, resolve, unknown_entry
from zoo.config.comments import GROUPS, leaves, options, written
from zoo.config.compose import PART_GROUPS, as_hydra_reads
from zoo.config.paths import quote, resolve_path
from zoo.errors import UsageError, closest

if TYPE_CHECKING:
    from zoo.schema import FieldInfo

SWEEP_DIR = "hydra.sweep.dir="

MULTIRUN = ("-m", "--multirun")

HELP = ("-h", "--help")

INFORMATION = ("--cfg", "-c", "--info", "-i", "--hydra-help", "--version")
"""Flags that make Hydra print something instead of running a job."""

_VALUED = ("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd")
"""Flags of Hydra that are followed by a value."""

_FLAGS = (*MULTIRUN, *HELP, *INFORMATION, *_VALUED, "--resolve", "--run", "-r", "--experimental-rerun")

_CFG = ("job", "hydra", "all")
"""What `--cfg` is followed by."""

_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
"""What `--info` may be followed by."""

_ALONE = (MULTIRUN, ("--run", "-r"), ("--cfg", "-c"), ("--info", "-i"))
"""What Hydra does with a command line, by the flags that ask for it; it does one thing at a time."""

NEXT_STEP = "see `zoo run --help` for the settings, and `zoo show ENTRY --settings` for those of a row"


@dataclass(frozen=True, slots=True)
class Arguments:
    """A command line that can be handed to Hydra.

    Attributes:
        given: flags first, then overrides; every entry by its full name.
        sweep_dir: where the jobs of a sweep leave their records; None for a single run.
    """

    given: list[str]
    sweep_dir: Path | None


def check(arguments: Sequence[str]) -> Arguments:
    """Check a command line, its flags at any place of it. `--multirun` without an entry means the whole zoo.

    Raises:
        UsageError: no entry, an unknown one, a pattern that fits none, a setting or flag that does not exist, or flags
            that exclude one another.
    """
    flags, overrides = split_flags(arguments)
    _refuse_two_tasks(flags)
    multirun = any(flag in MULTIRUN for flag in flags)
    overrides = list(dict.fromkeys(overrides))
    for override in overrides:
        _check_key(override)
    _refuse_two_values(overrides)
    given = [as_hydra_reads(override, multirun=multirun) for override in overrides]
    if multirun and not any(argument.startswith("entry=") for argument in given):
        given.append("entry=glob(*)")
    if multirun:
        _refuse_name_of_a_sweep(given)
    entries: list[str] = []
    for i, argument in enumerate(given):
        if argument.startswith("entry="):
            given[i], named = _entries(argument)
            entries += named
            if not multirun and given[i] != f"entry={named[0]}":
                raise UsageError(f"{argument} is {len(named)} entries", next_step="add -m to run one after another")
    if sum(argument.startswith("entry=") for argument in given) > 1:
        raise UsageError(
            f"entry is given twice: {' and '.join(entries)}", next_step="name all of them at once, with -m"
        )
    if not entries:
        raise UsageError(
            "no entry named",
            next_step="name one of `zoo list`: zoo run ENTRY, or entry=ENTRY; -m runs all",
        )
    if not multirun:
        return Arguments([*flags, *given], None)
    chosen = [argument for argument in given if argument.startswith(SWEEP_DIR)]
    # Two sweeps may begin in the same second, and in the same folder.
    sweep_dir = resolve_path(chosen[-1] if chosen else f"{SWEEP_DIR}multirun/{datetime.now():%Y-%m-%d_%H-%M-%S-%f}")
    return Arguments([*flags, *_deferred(given, entries[0]), f"{SWEEP_DIR}{quote(str(sweep_dir))}"], sweep_dir)


def split_flags(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags with their values, and everything else, each in its order: Hydra takes flags only before overrides.

    Raises:
        UsageError: Hydra has no such flag.
    """
    flags: list[str] = []
    others: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, _, value = argument.partition("=")
        if not argument.startswith("-"):
            (flags if flags and flags[-1] in ("--info", "-i") and argument in _INFO else others).append(argument)
            continue
        if name not in _FLAGS:
            step = _written_out(word) if (word := name.lstrip("-").replace("-", "_")) in settings() else NEXT_STEP
            raise UsageError(f"no option {name!r} ({closest(name, _FLAGS)})", next_step=step)
        flags.append(argument)
        if name in _VALUED and not value:
            following = next(rest, None)
            if following is None:
                raise UsageError(f"{name} needs a value", next_step=NEXT_STEP)
            flags.append(following)
        shown = value or flags[-1]
        if name in ("--cfg", "-c") and shown not in _CFG:
            raise UsageError(f"{name} {shown}: it prints {', '.join(_CFG)}", next_step=f"write {name} job")
    return flags, others


def _refuse_two_tasks(flags: Sequence[str]) -> None:
    """Raise UsageError where flags ask for two things at once, of which Hydra does one."""
    asked = [next((flag for flag in flags if flag.partition("=")[0] in names), None) for names in _ALONE]
    found = [flag.partition("=")[0] for flag in asked if flag is not None]
    if len(found) > 1:
        step = f"leave {found[0]} out" + (", and name one entry" if found[0] in MULTIRUN else "")
        raise UsageError(f"{found[0]} and {found[1]} exclude one another", next_step=step)


def _check_key(override: str) -> None:
    """Check what an override begins with; what it goes on with is for Hydra and for the parts to know."""
    key, equals, value = override.partition("=")
    name = key.lstrip("+~")
    first = re.split(r"[./@:]", name, maxsplit=1)[0]
    if not equals and not override.startswith("~"):
        raise UsageError(f"{override!r} is not KEY=VALUE", next_step=_written_out(key))
    known_settings = settings()
    blocks = {setting.partition(".")[0] for setting in known_settings}
    known = {*blocks, *GROUPS, "entry", "hydra"}
    if first not in known:
        raise UsageError(f"no setting {first!r} ({closest(first, known)})", next_step=NEXT_STEP)
    if name in GROUPS and "/" in value:
        near = f"{name}.root={value}" if name == "data" else f"choose one of {', '.join(options(name))}"
        raise UsageError(f"{override}: {name} takes a name, not a path", next_step=near)
    if name in blocks - known_settings.keys() - {*GROUPS} and not value.startswith(("{", "'{")):
        inside = [setting for setting in known_settings if setting.startswith(f"{name}.")]
        step = f"write {inside[0]}={value}" if len(inside) == 1 else f"write one of {', '.join(inside)}"
        raise UsageError(f"{override}: {name} is a group of settings", next_step=step)


def _refuse_two_values(overrides: Iterable[str]) -> None:
    """Raise UsageError where a key has two values: Hydra would take the last of them without a word."""
    found: dict[str, str] = {}
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        before = found.setdefault(key, override)
        if before != override and key != "entry":  # of several entries `check` has more to say
            step = "keep one of them; for several values write KEY=A,B and -m"
            raise UsageError(f"{key} is given twice: {before} and {override}", next_step=step)


def _written_out(word: str) -> str:
    """The next step for a word that is not KEY=VALUE."""
    if word in settings():
        return f"write {word}=VALUE"
    return f"write entry={word}" if fnmatch.filter(entry_names(), f"*{word}*") else NEXT_STEP


def _refuse_name_of_a_sweep(overrides: Sequence[str]) -> None:
    """Raise UsageError where the runs of a sweep are to have one name."""
    for override in overrides:
        if override.startswith("name=") and override != "name=null":
            step = "leave it out: each run of a sweep gets a name made of what differs; or leave -m out"
            raise UsageError(f"{override} is for one run, not for a sweep", next_step=step)


def _entries(override: str) -> tuple[str, list[str]]:
    """An `entry=` override with full names, and the entries it stands for."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ChoiceSweep, Glob
    from hydra.errors import HydraException

    try:
        value = OverridesParser.create().parse_override(override).value()
    except HydraException as error:
        raise UsageError(
            f"{override}: {error}", next_step="quote the override for the shell: 'entry=glob(mmdet_*)'"
        ) from None
    if isinstance(value, Glob):
        found = value.filter(entry_names())
        if not found:
            raise unknown_entry(" ".join(value.include))
        return "entry=" + ",".join(found), found  # Hydra's own glob does not look into other catalogues
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


def check_kinds(config: Mapping[str, Any], own: Mapping[str, Any], overrides: Iterable[str]) -> None:
    """Check that settings inside parts, for which no schema speaks, hold what the row's own hold.

    Args:
        config: composed configuration.
        own: that of the row.
        overrides: what the command line said, as `key=value`.

    Raises:
        UsageError: text, a number, a truth value or a list in the place of another of these.
    """
    for override in overrides:
        key = override.partition("=")[0].lstrip("+")
        if key.partition(".")[0] not in PART_GROUPS or "." not in key:
            continue
        given, usual = _at(config, key), _at(own, key)
        if None in (given, usual) or _kind(given) == _kind(usual):
            continue
        message = f"{key}: {written(given)!r} is not {_kind(usual)}, as the row's own {written(usual)}"
        raise UsageError(message, next_step=NEXT_STEP)


def _at(config: Mapping[str, Any], key: str) -> Any:
    node: Any = config
    for name in key.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    return node


def _kind(value: Any) -> str:
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list"}
    return kinds.get(type(value), "a mapping")


def _check_setting(key: str, config: Mapping[str, Any]) -> None:
    node: Any = config
    for name in key.split("."):
        if not isinstance(node, Mapping) or name not in node:
            known = list(node) if isinstance(node, Mapping) else []
            raise UsageError(f"no setting {key!r}: {name!r} ({closest(name, known)})", next_step=NEXT_STEP)
        node = node[name]


def usage_error(error: Exception, arguments: Sequence[str] = ()) -> UsageError:
    """What Hydra says of an override, in one line, with the closest names.

    Args:
        error: Hydra's.
        arguments: the command line.
    """
    text = " ".join(str(error).split())
    missing = re.search(r"Could not find '([\w/]+)/([^']+)'", text)
    if missing:
        group, option = missing.groups()
        return UsageError(f"no option {option!r} of {group} ({closest(option, options(group))})", next_step=NEXT_STEP)
    key = re.search(r"Could not override '([^']+)'", text)
    if key:
        known = settings()
        if key[1].partition(".")[0] in PART_GROUPS:
            known = _settings_of_parts(arguments)
        return UsageError(f"no setting {key[1]!r} ({closest(key[1], known)})", next_step=NEXT_STEP)
    several = re.search(r"Ambiguous value for argument '([^']+)'", text)
    if several:
        step = "add -m to run one after another, or write [...] for a list"
        return UsageError(f"{several[1]} is several values", next_step=step)
    return UsageError(text, next_step=NEXT_STEP)


def _settings_of_parts(arguments: Sequence[str]) -> dict[str, str]:
    """The settings inside the parts of the row that a command line names, by dotted name."""
    from zoo.config.compose import compose

    entry = next(argument for argument in arguments if argument.startswith("entry="))
    chosen = [argument for argument in arguments if argument.partition("=")[0] in PART_GROUPS]
    config = compose(entry.removeprefix("entry=").split(",")[0], chosen)
    return dict(leaves({group: config[group] for group in PART_GROUPS if config.get(group)}))


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
    return found | {"run": f"{' | '.join(options('run'))} [evaluate]: {_of(fields, 'run')}"}


def _of(fields: Iterable[FieldInfo], key: str) -> str:
    return next(field.description for field in fields if field.key == key)


def _default(value: object) -> str:
    """A default as a help text shows it: a list without its brackets."""
    return written(value).strip("[]")
