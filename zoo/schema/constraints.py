"""What an annotation may ask of a value besides its type."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any


class Constraint(ABC):
    """What a value must fulfil besides its type; stands in Annotated[...]."""

    __slots__ = ()

    @abstractmethod
    def expectation(self, of_type: str) -> str:
        """The phrase for a value that fulfils it, from the one for any value of the type: "a whole number"."""

    @abstractmethod
    def accepts(self, value: Any) -> bool:
        """Whether a value of the right type fulfils it."""

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """The same in JSON Schema."""


class Minimum(Constraint):
    """A number that is `value` or more."""

    __slots__ = ("value",)

    def __init__(self, value: float) -> None:
        self.value = value

    def expectation(self, of_type: str) -> str:
        return f"{of_type}, {self.value} or more"

    def accepts(self, value: Any) -> bool:
        return bool(value >= self.value)

    def schema(self) -> dict[str, Any]:
        return {"minimum": self.value}


class Pattern(Constraint):
    """A string that a regular expression fits from end to end; `words` say what that is: "a day of the week"."""

    __slots__ = ("regex", "words")

    def __init__(self, regex: str, words: str) -> None:
        self.regex = regex
        self.words = words

    def expectation(self, of_type: str) -> str:  # noqa: ARG002 - a string it is in any case
        return self.words

    def accepts(self, value: Any) -> bool:
        return re.fullmatch(self.regex, value) is not None

    def schema(self) -> dict[str, Any]:
        return {"pattern": f"^(?:{self.regex})$"}


class OneOf(Constraint):
    """A string out of names that are known at run time only; where they can be written down, use Literal."""

    __slots__ = ("names",)

    def __init__(self, names: Collection[str]) -> None:
        self.names = tuple(names)

    def expectation(self, of_type: str) -> str:  # noqa: ARG002 - a string it is in any case
        return " | ".join(self.names)

    def accepts(self, value: Any) -> bool:
        return value in self.names

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.names)}
