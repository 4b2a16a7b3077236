"""A new entry made of another: `zoo new`."""

from __future__ import annotations

import re
from pathlib import Path

from zoo.catalog.entry import ZOO_CATALOG, conf_dir, config_file, entry_names, own_catalogues, read_entry
from zoo.errors import UsageError
from zoo.files import PROJECT, write_atomically

_BLOCK = """entry:
  name: {name}
{zoo}  upstream: {model} # what its publisher calls it
{classes}  checkpoint:
    urls: [] # addresses of one and the same file, the preferred one first
    # sha256: all 64 hex digits, where the publisher gives them; or sha256_prefix: "047c8118", the digits in a file name
  published: [] # one line a printed number, its digits quoted as printed:
    # - {{metric: box_AP, text: "37.4", source: README.md, line: 25}}
    # - {{metric: fps, text: "21.4", source: README.md, line: 25, hardware: V100}}
"""


def write_new_entry(name: str, other: str, folder: Path | None = None) -> Path:
    """Write the YAML of a new entry that is composed as another is; what is particular to it is left to be filled in.

    Args:
        name: `<zoo>_<model>`.
        other: the entry whose parts it has.
        folder: the catalogue it goes into; None for the first of `ZOO_CATALOG`, or conf/ of a checkout.

    Returns:
        The file.

    Raises:
        UsageError: the name is taken or is none, there is no such other entry, or nothing says where to put it.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*_[a-z0-9][a-z0-9_]*", name):
        message = f"{name!r} is no name of an entry"
        raise UsageError(message, next_step="call it <zoo>_<model>, in lower-case letters, digits and _")
    if name in entry_names():
        raise UsageError(f"there is an entry {name} already", next_step=f"choose another name, or see zoo show {name}")
    like = read_entry(other)
    source = config_file("entry", other)
    assert source is not None  # noqa: S101 - it has just been read
    head = source.read_text(encoding="utf-8").split("\nentry:\n", 1)[0]
    zoo, model = name.split("_", 1)
    block = _BLOCK.format(
        name=name,
        model=model,
        zoo="" if zoo == like.zoo else f"  zoo: {zoo} # its reader, key map and licence are those of {like.zoo}\n",
        classes=f"  classes: [{', '.join(like.classes)}]\n" if like.classes else "",
    )
    path = (folder or _writable_catalogue()) / "entry" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, f"{head}\n{block}")
    return path


def catalogue_of(entry: str) -> Path:
    """The folder of the catalogue that an entry lies in."""
    path = config_file("entry", entry)
    assert path is not None  # noqa: S101 - asked of entries that there are
    return path.parents[1]


def _writable_catalogue() -> Path:
    own = own_catalogues()
    if own:
        return own[0]
    if conf_dir() == PROJECT / "conf":
        return conf_dir()
    message = "the package is installed: its own catalogue is no place for entries of yours"
    raise UsageError(message, next_step=f"make a folder and name it with {ZOO_CATALOG}=DIR, or with --into DIR")
