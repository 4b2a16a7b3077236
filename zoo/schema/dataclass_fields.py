"""What a dataclass says of its fields: their types, their defaults, and what its docstring has on each."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from functools import cache
from typing import Any

REQUIRED = dataclasses.MISSING
"""The default of a field that has none."""


@cache
def hints_of(kind: type) -> dict[str, Any]:
    """Field name -> its resolved annotation."""
    return typing.get_type_hints(kind, include_extras=True)


@cache
def descriptions_of(kind: type) -> dict[str, str]:
    """Field name -> its text in the `Attributes` section of the class, or of one that it inherits from."""
    found: dict[str, str] = {}
    for ancestor in reversed(kind.__mro__):
        _, _, section = inspect.cleandoc(ancestor.__doc__ or "").partition("Attributes:\n")
        section = re.split(r"^\S", section, maxsplit=1, flags=re.MULTILINE)[0]
        for match in re.finditer(r"^    (\w+): (.+(?:\n {5,}.+)*)", section, flags=re.MULTILINE):
            found[match[1]] = " ".join(match[2].split())
    return found


def default_of(field: dataclasses.Field[Any]) -> Any:
    """What a key left out becomes; REQUIRED where it may not be left out."""
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
