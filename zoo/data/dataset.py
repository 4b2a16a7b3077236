"""Where a data set comes from when no folder is given: downloaded, or drawn, on first use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.data.coco2014 import EQUIVALENT
from zoo.data.shapes import dataset as shapes
from zoo.errors import DataError, UsageError, closest
from zoo.fetch.coco import ARCHIVES, DATA_SETS, default_root, fetch_coco


@dataclass(frozen=True, slots=True)
class DatasetLocation:
    """A data set on disk, in COCO's own layout.

    Attributes:
        root: folder of the data set.
        files_sha256: hash over every byte of the split; None where not every file was hashed.
    """

    root: Path
    files_sha256: str | None = None


def known_files(name: str, split: str) -> str | None:
    """The sha256 over every byte of a split, its images too, as `hash_files` has it; None where it is not known."""
    return shapes.SHA256["train" if split == "train" else "val"] if (name, split) in _DRAWN else None


_DRAWN = (("shapes", "train"), ("shapes", "val"))


def hash_files(annotations: Path, images: Sequence[Path]) -> str:
    """The sha256 over annotations and images, their names included, in lower-case hex.

    Raises:
        DataError: a file cannot be read.
    """
    try:
        return shapes.digest_of(annotations, images)
    except OSError as error:
        message = f"{error.filename}: cannot be read ({error.strerror or error})"
        raise DataError(message, next_step="make the file readable, or complete the folder") from None


def local_root(name: str, split: str) -> Path | None:
    """The folder that `open_dataset` gives, whether it is there or not: nothing is downloaded or drawn.

    Returns:
        None where nothing is known of where such a data set comes from.
    """
    if (name, split) in EQUIVALENT or name in DATA_SETS:
        return default_root()
    return shapes.default_root() if name == "shapes" else None


def open_dataset(name: str, split: str) -> DatasetLocation:
    """A split of a data set, in the cache.

    Raises:
        UsageError: nothing is known of where such a data set comes from.
        DataError, DownloadError: it cannot be had.
    """
    if (name, split) in EQUIVALENT:
        name, split = "coco2017", EQUIVALENT[name, split].split
    match name, split:
        case coco, "val2017" | "train2017" if coco in DATA_SETS:
            return DatasetLocation(fetch_coco(split))
        case "shapes", "val" | "train":
            return DatasetLocation(shapes.prepare_shapes(split), shapes.SHA256[split])
    known = (*(f"{one} {part}" for one in DATA_SETS for part in ARCHIVES), "shapes val", "shapes train")
    asked = f"{name} {split}"
    raise UsageError(f"no source for {asked!r} ({closest(asked, known)})", next_step="give its folder as data.root=DIR")
