"""Command lines put together of what a test always says, and of what it says otherwise."""

from __future__ import annotations


def last_wins(*overrides: str) -> list[str]:
    """Overrides, each key once, with the last of its values: a command line that gives two is refused."""
    return list({override.partition("=")[0]: override for override in overrides}.values())
