"""Names of object classes made up for tests."""

from __future__ import annotations


def class_names(count: int) -> list[str]:
    """As many names."""
    return [f"class {i}" for i in range(count)]
