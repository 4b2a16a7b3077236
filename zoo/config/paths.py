"""Paths in overrides: quoted, because Hydra's grammar gives a meaning to most of what a folder may be called."""

from __future__ import annotations

import re
from pathlib import Path

from zoo.errors import UsageError

PATH_SETTINGS = (
    "checkpoint.path",
    "data.root",
    "data.annotations",
    "data.images",
    "data.train.annotations",
    "data.train.images",
    "results.dir",
    "hydra.run.dir",
    "hydra.sweep.dir",
)
"""Settings that hold the path of a file or a folder."""


def quote_path(override: str, *, multirun: bool = False) -> str:
    """An override as Hydra reads it: of a path setting the value in quotes, if it was not quoted already.

    Args:
        override: `key=value`.
        multirun: whether commas may separate several values: then a value with one is a list of paths, unless
            something of that whole name is there.
    """
    key, equals, value = override.partition("=")
    if not equals or key.lstrip("+") not in PATH_SETTINGS or value in ("", "null") or _is_quoted(value):
        return override
    values = value.split(",") if multirun and "," in value and not Path(value).expanduser().exists() else [value]
    return f"{key}={','.join(quote(item) for item in values)}"


def quote(value: str) -> str:
    """A text in single quotes, as Hydra's grammar unquotes it; interpolations stay what they are."""
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)
    ending = re.search(r"\\*$", escaped)
    return f"'{escaped}{ending[0] if ending else ''}'"


def as_typed(override: str) -> str:
    """An override as a person writes it: of a path without the quotes, where `quote_path` would give them again."""
    key, _, value = override.partition("=")
    inner = value[1:-1]
    return f"{key}={inner}" if _is_quoted(value) and quote_path(f"{key}={inner}") == override else override


def resolve_path(override: str) -> Path:
    """The absolute path that an override of a path setting means, before any job is composed.

    Raises:
        UsageError: it depends on a job's configuration.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.utils import setup_globals
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    setup_globals()  # Hydra's own resolvers, such as ${now:...}
    key = override.partition("=")[0]
    value = OverridesParser.create().parse_override(quote_path(override)).value()
    try:
        text = str(OmegaConf.create({"path": str(value)}).path)
    except OmegaConfBaseException as error:
        reason = str(error).partition("\n")[0]
        step = "name a folder, with ${now:...} and ${oc.env:...} at most"
        raise UsageError(f"{override}: {key} is needed before any job is composed ({reason})", next_step=step) from None
    return Path(text).absolute()


def _is_quoted(value: str) -> bool:
    return len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
