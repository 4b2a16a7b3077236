"""What a word of the command line may become, for a shell that completes it."""

from __future__ import annotations

from zoo.catalog.entry import entry_names


def entries(prefix: str, **_: object) -> list[str]:
    """The entries that a word may become, with their zoo or without."""
    names = entry_names()
    found = [name for name in names if name.startswith(prefix)]
    return found or [name.split("_", 1)[1] for name in names if name.split("_", 1)[1].startswith(prefix)]


def entries_and_settings(prefix: str, **_: object) -> list[str]:
    """What a word of `zoo run` may become: an entry, a setting, or the option of a group."""
    from zoo.config.comments import GROUPS, options
    from zoo.config.overrides import settings

    group, equals, _option = prefix.partition("=")
    if equals:
        return [f"{group}={option}" for option in options(group)] if group in GROUPS else []
    keys = dict.fromkeys([*settings(), *GROUPS])
    return [*entries(prefix), *(f"{key}=" for key in keys if key.startswith(prefix))]
