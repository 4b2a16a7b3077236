"""How the tables of each zoo are laid out: one module per zoo, each a pure table `LAYOUT`."""

from __future__ import annotations

import importlib
import pkgutil
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache

from zoo.catalog.entry import ZOO_ORDER
from zoo.catalog.published.numbers import plain


@dataclass(frozen=True, slots=True)
class Column:
    """What the numbers of a column are.

    Attributes:
        metric: a key of `zoo.catalog.entry.METRICS`.
        hardware: device that they were taken on.
    """

    metric: str
    hardware: str | None = None


@dataclass(frozen=True, slots=True)
class Sentence:
    """A number that the running text of a document prints of one of its rows.

    Attributes:
        anchor: words that the sentence begins with.
        pattern: expression that finds the number behind them, in one pass; group 1 is the digits.
        entry: name of the row.
        column: metric and hardware of the number.
    """

    anchor: str
    pattern: re.Pattern[str]
    entry: str
    column: Column


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The tables of one zoo. Column names are written as `column_name` makes them.

    Attributes:
        zoo: name of the zoo.
        columns: column name -> what its numbers are.
        others: the columns without a number of ours; they tell one zoo's tables from another's.
        key_column: the column that says which model a row is.
        key: expression, one pass long, whose first matching group is the original's name of the model in such a cell.
        entries: that name -> entry, where the entry is not named after it.
        translations: column name in another language -> column name.
        sentences: numbers that documents print outside of their tables.
    """

    zoo: str
    columns: Mapping[str, Column]
    others: frozenset[str]
    key_column: str
    key: re.Pattern[str]
    entries: Mapping[str, str] = field(default_factory=dict)
    translations: Mapping[str, str] = field(default_factory=dict)
    sentences: tuple[Sentence, ...] = ()

    def names(self, header: Sequence[str]) -> list[str]:
        """The column names of a table, in the language of `columns`."""
        return [self.translations.get(name, name) for name in map(column_name, header)]

    def entry(self, cell: str) -> str | None:
        """The entry that a cell of the key column stands for; None where it names no model."""
        match = self.key.search(cell)
        if match is None:
            return None
        name = next(group for group in match.groups() if group is not None)
        if self.entries:
            return self.entries.get(name)
        return f"{self.zoo}_{name.lower().replace('_coco', '').replace('-', '_')}"


@lru_cache(maxsize=256)  # each layout asks for the names of each table
def column_name(header: str) -> str:
    """A header cell as plain lower-case words: "mAP<sup>val<br>50-95" is "map val 50-95"."""
    return unicodedata.normalize("NFKC", plain(header)).lower()


@cache
def layouts() -> tuple[Layout, ...]:
    """The layouts of all zoos that have one here, in catalogue order."""
    found = {module.name for module in pkgutil.iter_modules(__path__)}
    return tuple(importlib.import_module(f"{__name__}.{zoo}").LAYOUT for zoo in ZOO_ORDER if zoo in found)


def is_metric(header: str) -> bool:
    """Whether any zoo has a column of this name with one of our metrics in it."""
    return any(name in layout.columns for layout in layouts() for name in layout.names([header]))


def layout_of(header: Sequence[str]) -> Layout | None:
    """The zoo whose columns these are, as far as they can be told apart; None without a metric among them."""

    def known(layout: Layout) -> int:
        return sum(name in layout.columns or name in layout.others for name in layout.names(header))

    fitting = [layout for layout in layouts() if any(name in layout.columns for name in layout.names(header))]
    return max(fitting, key=known, default=None)
