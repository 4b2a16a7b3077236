"""Names out of addresses. What a server calls a file (Content-Disposition) is never asked for."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit

LONGEST_NAME = 128
"""Characters of a file name: file systems take 255 bytes, and endings such as `.part.json` come behind it."""

_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)", re.IGNORECASE | re.ASCII)
"""Names that are devices on Windows, whatever their ending."""


def split_url(url: str) -> SplitResult | None:
    """The parts of an address; None where it is none."""
    try:
        parts = urlsplit(url)
        _ = parts.hostname, parts.port  # checked when first asked for
    except ValueError:
        return None
    return parts


def host_of(url: str) -> str:
    """Whom an address asks, for messages; the address itself where it names nobody."""
    parts = split_url(url)
    return (parts.hostname if parts is not None else None) or url


def server_of(url: str) -> str:
    """The host of an address with its port, in small letters; the address itself where it names nobody."""
    parts = split_url(url)
    return (parts.netloc.rpartition("@")[2].lower() if parts is not None else None) or url


def file_name(url: str, *, default: str) -> str:
    """The name of the file at an address: the last part of its path, as one plain name on every system.

    Args:
        url: the address; its query is no part of the name.
        default: name of a file whose address ends in none.
    """
    parts = split_url(url)
    path = unquote(parts.path if parts is not None else url)
    name = re.sub(r"[^\w.+=@ -]", "_", PurePosixPath(path.replace("\\", "/")).name).strip(". ")
    stem, dot, ending = name.rpartition(".")
    if len(name.encode()) > LONGEST_NAME:
        keep = LONGEST_NAME - len(f"{dot}{ending}".encode()) if len(ending) < 16 else 0
        name = f"{_cut(stem, keep)}{dot}{ending}" if keep else _cut(name, LONGEST_NAME)
    return f"_{name}" if _RESERVED.match(name) else name or default


def _cut(text: str, size: int) -> str:
    """The beginning of a text that takes no more than `size` bytes."""
    return text.encode()[:size].decode(errors="ignore")
