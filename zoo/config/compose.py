"""An entry, composed: everything that its YAML and the overrides of a run say, as plain mappings and lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from zoo.catalog.entry import conf_dir, own_catalogues, resolve
from zoo.config.paths import quote, quote_path
from zoo.errors import UsageError

PART_GROUPS = ("detector", "backbone", "neck", "head", "loss", "schedule", "initial", "protocol")
"""Config groups that an entry is composed of."""

NEEDED_GROUPS = ("detector", "backbone", "head", "protocol")
"""Those that every entry has."""


def compose(name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The whole configuration of an entry, as plain mappings and lists.

    Args:
        name: an entry, or its name without the zoo.
        overrides: as on the command line, `key=value`.

    Raises:
        UsageError: no such entry, or an override that fits nothing.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.singleton import Singleton
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    entry, _ = resolve(name)
    outer = Singleton.get_state()  # a program that is a Hydra application itself keeps its own state
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            chosen = [f"entry={entry}", *map(as_hydra_reads, overrides), *search_path()]
            config = hydra_compose("config", overrides=chosen)
            plain = OmegaConf.to_container(config, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        message = " ".join(str(error).split())
        raise UsageError(message, next_step=f"see `zoo show {entry}` for its parts") from None
    finally:
        Singleton.set_state(outer)
    return dict(cast("dict[str, Any]", plain))


def search_path() -> list[str]:
    """The override by which Hydra also looks into catalogues of one's own; none where there are none."""
    folders = [quote(f"file://{folder}") for folder in own_catalogues()]
    return [f"hydra.searchpath=[{','.join(folders)}]"] if folders else []


def as_hydra_reads(override: str, *, multirun: bool = False) -> str:
    """An override as Hydra takes it.

    It has no word for "none of this group" but the deletion `~group`, and reads paths by its grammar; see `quote_path`.

    Raises:
        UsageError: the group left out is one that every detector has.
    """
    group, _, option = override.partition("=")
    left_out = group if option == "null" else override.removeprefix("~") if override.startswith("~") else None
    if left_out in NEEDED_GROUPS:
        raise UsageError(f"{override}: no detector is without a {left_out}", next_step=f"choose one: {left_out}=OPTION")
    if group in PART_GROUPS and option == "null":
        return f"~{group}"
    return quote_path(override, multirun=multirun)
