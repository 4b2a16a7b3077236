"""What an entry's checkpoint holds, without the file: the names and shapes of its tensors.

`conf/keys/<zoo>/<model>.json`, or the file that `checkpoint.keys` of the entry names, made by
`zoo check ENTRY --checkpoint FILE --store`. Entries of one architecture share one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.catalog.entry import Entry, conf_dir, own_catalogues
from zoo.errors import UsageError
from zoo.files import write_atomically

GROUP = "keys"
"""Folder of a catalogue that has the lists."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyList:
    """The tensors of a checkpoint, and what they make.

    Attributes:
        parameters: number of the model's parameters, trained or frozen; running statistics are none.
        shapes: shape of every tensor, by its key in the file, in the file's order.
    """

    parameters: int
    shapes: Mapping[str, Shape]

    @classmethod
    def read(cls, path: Path) -> KeyList:
        """The list in a file.

        Raises:
            UsageError: it is not one.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            shapes = [tuple(map(int, shape)) for shape in content["shapes"]]
            keys = {key: shapes[position] for key, position in _leaves(content["keys"])}
            return cls(parameters=int(content["parameters"]), shapes=keys)
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            message = f"{path}: not a list of keys ({error})"
            raise UsageError(message, next_step="make it again: zoo check ENTRY --checkpoint FILE --store") from None

    def write(self, path: Path) -> None:
        """Write the list without repetition: each shape once, and the keys as a tree of their dotted parts."""
        shapes = list(dict.fromkeys(self.shapes.values()))
        tree: dict[str, Any] = {}
        for key, shape in self.shapes.items():
            *way, last = key.split(".")
            node = tree
            for part in way:
                node = node.setdefault(part, {})
            node[last] = shapes.index(shape)
        content = {"parameters": self.parameters, "shapes": shapes, "keys": tree}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(content, separators=(",", ":")) + "\n")


def key_list_name(entry: Entry) -> str:
    """The name of an entry's list: its own, unless it names that of another."""
    return entry.checkpoint.keys or f"{entry.zoo}/{entry.model}"


def find_key_list(entry: Entry) -> Path | None:
    """The file of an entry's list; None where none was stored.

    Raises:
        UsageError: the entry names one that is not there.
    """
    name = key_list_name(entry)
    for folder in (conf_dir(), *own_catalogues()):
        path = folder / GROUP / f"{name}.json"
        if path.is_file():
            return path
    if entry.checkpoint.keys is not None:
        message = f"{entry.name}: checkpoint.keys: no {GROUP}/{name}.json"
        raise UsageError(message, next_step="name a list that is there, or leave it out")
    return None


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, int]]:
    for name, node in tree.items():
        if isinstance(node, Mapping):
            yield from _leaves(node, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", int(node)
