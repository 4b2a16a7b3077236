"""One split of a data set, opened: its annotations, its image files, and whether they are what they are taken for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.data.coco import CocoGroundTruth
from zoo.data.dataset import DatasetLocation, open_dataset
from zoo.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A split with the categories of an entry, all of whose images are there.

    Attributes:
        data: name of the data set.
        name: name of the split.
        ground_truth: annotations.
        files: image files, in the order of the annotations.
        files_sha256: hash over every byte of the split; None where not every file was hashed.
        known: whether the annotation file is the split's own, byte for byte.
        partial: whether these are a part of the split.
    """

    data: str
    name: str
    ground_truth: CocoGroundTruth
    files: list[Path]
    files_sha256: str | None
    known: bool
    partial: bool


def open_split(
    name: str,
    split: str,
    *,
    root: Path | None,
    annotations: str,
    images: str,
    num_images: int | None,
    limit: int | None,
    classes: Sequence[str],
    known: Mapping[str, str],
) -> Split:
    """Open a split of a data set.

    Args:
        name: of the data set.
        split: of it.
        root: folder in COCO's own layout; None for the cache, filled on first use.
        annotations: file, relative to the root.
        images: folder, relative to the root.
        num_images: number of images of the whole split, where it is known; annotations of fewer are a part of it.
        limit: number of images, the first by id; None for all.
        classes: category names in label order.
        known: split -> sha256 of its annotation file.

    Raises:
        DataError: the annotations are damaged or lack a class, or images are missing.
        DownloadError: it is not there and cannot be downloaded.
    """
    location = open_dataset(name, split) if root is None else DatasetLocation(root)
    whole = CocoGroundTruth.load(location.root / annotations).with_categories(classes)
    ground_truth = whole if limit is None else whole.subset(limit)
    return Split(
        data=name,
        name=split,
        ground_truth=ground_truth,
        files=_image_files(location.root / images, ground_truth.file_names),
        files_sha256=location.files_sha256,
        known=known.get(split) == whole.sha256,
        partial=len(ground_truth) < max(len(whole), num_images or 0),
    )


def _image_files(folder: Path, names: Sequence[str]) -> list[Path]:
    """The image files of a split, all of which are there. Raises DataError."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of images", next_step="check data.root")
    files = [folder / name for name in names]
    there = {file.name for file in folder.iterdir()}
    absent = [file for file in files if file.name not in there]
    if absent:
        message = f"{folder}: lacks {len(absent)} of {len(files)} images, such as {absent[0].name}"
        raise DataError(message, next_step="complete the folder, or limit the run with data.limit=N")
    return files
