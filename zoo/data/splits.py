"""One split of a data set, opened: its annotations, its image files, and whether they are what they are taken for."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.data.coco import CocoGroundTruth
from zoo.data.coco2014 import EQUIVALENT, EquivalentSplit, image_ids_sha256
from zoo.data.dataset import DatasetLocation, hash_files, known_files, open_dataset
from zoo.data.folder import missing_images
from zoo.errors import DataError

_log = logging.getLogger(__name__)

_MAX_LISTED = 5
"""Class names that a message lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A split with the categories of an entry, all of whose images are there.

    Attributes:
        data: name of the data set.
        name: name of the split.
        ground_truth: annotations.
        files: image files, in the order of the annotations.
        files_sha256: hash over annotations and images; None where the images were not hashed.
        difference: what tells annotations or images from the split's own, in words; None where every byte that is
            known is the same: of the annotations, and of embedded data of the images too.
        partial: whether these are a part of the split.
        equivalent: the split that it is taken as; None where it is known by its own name.
        evidence: why the two are believed to have the same images, as the end of a sentence.
    """

    data: str
    name: str
    ground_truth: CocoGroundTruth
    files: list[Path]
    files_sha256: str | None
    difference: str | None
    partial: bool
    equivalent: str | None = None
    evidence: str | None = None

    @property
    def known(self) -> bool:
        """Whether the annotation file, and of embedded data the images, are the split's own, byte for byte."""
        return self.difference is None


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
    categories: Collection[str],
    known: Mapping[str, str],
    sizes: Mapping[str, tuple[int, int]],
    hash_images: bool = False,
) -> Split:
    """Open a split of a data set.

    Args:
        name: of the data set.
        split: of it.
        root: folder in COCO's own layout, of 2017 or, for its splits, of 2014; None for the cache, filled on first use.
        annotations: file, relative to the root.
        images: folder, relative to the root.
        num_images: number of images of the whole split, where it is known; annotations of fewer are a part of it.
        limit: number of images, the first by id; None for all.
        classes: category names in label order.
        categories: names that the data set has. Classes that it does not have are no object's; where nothing is known
            of the split (`known`), its file may lack any of them.
        known: split -> sha256 of its annotation file; one that is in the cache is known without.
        sizes: split -> bytes and number of annotations of that file, for the words in which another differs.
        hash_images: whether to hash every image, so that a record says of which pixels its numbers are.

    Raises:
        DataError: the annotations are damaged or lack a class, none of the classes is one of theirs, or images are
            missing.
        DownloadError: it is not there and cannot be downloaded.
    """
    equivalent, source = EQUIVALENT.get((name, split)), source_split(name, split)
    location = open_dataset(name, split) if root is None else DatasetLocation(root)
    file, loaded = load_annotations(location.root, annotations, equivalent)
    difference, listed = None, source in known or source in sizes
    # What the cache has was unpacked from an archive of COCO's own md5: that is enough where no hash is on record.
    own = loaded.sha256 if root is None and source not in known else known.get(source)
    if loaded.sha256 != own:
        found = (file.stat().st_size, len(loaded.annotation_ids))
        expected = (own, sizes.get(source))
        difference = _difference(f"{name} {split}", file.name, loaded.sha256, found, *expected)
        if equivalent is not None and image_ids_sha256(loaded) == equivalent.image_ids_sha256:
            difference = f"{difference}; its images are those of {source}"
        if listed:  # of one's own data nobody expected anything else
            _log.warning("warning: %s", difference)
    whole = _with_classes(loaded, classes, categories if listed else ())
    ground_truth = whole if limit is None else whole.subset(limit)
    files = image_files(location.root, images, ground_truth, equivalent)
    partial = len(ground_truth) < max(len(whole), num_images or 0)
    expected_files = None if partial or difference is not None else known_files(name, split)
    files_sha256 = location.files_sha256
    if files_sha256 is None and (hash_images or expected_files is not None):
        files_sha256 = hash_files(file, files)
    if None not in (files_sha256, expected_files) and files_sha256 != expected_files:
        difference = f"{location.root / images} has other images than {name} {split}, by their sha256"
        _log.warning("warning: %s", difference)
    return Split(
        data=name,
        name=split,
        ground_truth=ground_truth,
        files=files,
        files_sha256=files_sha256,
        difference=difference,
        partial=partial,
        equivalent=None if equivalent is None else equivalent.split,
        evidence=None if equivalent is None else equivalent.evidence,
    )


def source_split(name: str, split: str) -> str:
    """The split whose files a split of a data set is evaluated on: itself, but for those of COCO 2014."""
    equivalent = EQUIVALENT.get((name, split))
    return split if equivalent is None else equivalent.split


def load_annotations(root: Path, annotations: str, equivalent: EquivalentSplit | None) -> tuple[Path, CocoGroundTruth]:
    """The annotation file of a split in a folder, and what it says.

    Args:
        root: folder of the data set.
        annotations: file, relative to the root.
        equivalent: the split of 2017 that it is taken as, where it is one of 2014.

    Raises:
        DataError: it is missing or damaged.
    """
    if equivalent is not None:
        return equivalent.load(root, annotations)
    return root / annotations, CocoGroundTruth.load(root / annotations)


def _with_classes(truth: CocoGroundTruth, classes: Sequence[str], required: Collection[str]) -> CocoGroundTruth:
    """The annotations by the classes of a detector; where it does not know all of theirs, or more, that is said.

    Args:
        truth: annotations.
        classes: category names in label order.
        required: those that the annotations must have.

    Raises:
        DataError: a class is lacking that is required, or all of them are.
    """
    there = set(truth.category_names)
    common = [name for name in classes if name in there]
    if not common:
        raise DataError(
            f"the model and the annotations have no class in common: {_listed(classes)} and {_listed(sorted(there))}",
            next_step="train it on these classes (run=train), or rename the categories to what the model calls them",
        )
    if not required and there != set(classes):
        absent, unknown = [name for name in classes if name not in there], sorted(there.difference(classes))
        sides = {"not in the annotations": absent, "not in the model": unknown}
        said = "; ".join(f"{where}: {_listed(names)}" for where, names in sides.items() if names)
        _log.warning("classes: %d by name, %s (%s)", len(common), _listed(common), said)
    return truth.with_categories(classes, optional=[name for name in classes if name not in required])


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(names[:_MAX_LISTED]) + rest


def _difference(
    split: str, file: str, sha256: str, found: tuple[int, int], known: str | None, size: tuple[int, int] | None
) -> str:
    """How an annotation file differs from a split's own, as a sentence without its full stop.

    Args:
        split: data set and split.
        file: name of the file.
        sha256: of the file.
        found: its bytes, and its number of annotations.
        known: sha256 of the split's own file; None where nothing is known of it.
        size: the same as `found`, of the split's own file.
    """
    described = f"{file} ({_sized(found)}, sha256 {sha256[:8]})"
    if known is None and size is None:
        return f"{described} is data of one's own: nothing is known of {split}"
    if known is None:
        message = f"{described} may be another file than that of {split}: its hash is on no record"
        return f"{message}, and known is what is downloaded"
    expected = f"sha256 {known[:8]}" if size is None else f"{_sized(size)}, sha256 {known[:8]}"
    return f"{described} is not the annotation file of {split} ({expected})"


def _sized(size: tuple[int, int]) -> str:
    return f"{size[0]:,} bytes, {size[1]:,} annotations"


def image_files(
    root: Path, images: str, ground_truth: CocoGroundTruth, equivalent: EquivalentSplit | None
) -> list[Path]:
    """The image files of a split in a folder, in the order of the annotations.

    Args:
        root: folder of the data set.
        images: folder of its images, relative to the root.
        ground_truth: annotations.
        equivalent: the split of 2017 that it is taken as, where it is one of 2014.

    Raises:
        DataError: one of them is missing.
    """
    if equivalent is not None:
        return equivalent.image_files(root, images, ground_truth)
    folder, names = root / images, ground_truth.file_names
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of images", next_step="check data.root")
    absent = missing_images(folder, names)
    if absent:
        message = f"{folder}: lacks {len(absent)} of {len(names)} images, such as {absent[0]}"
        raise DataError(message, next_step="complete the folder, or limit the run with data.limit=N")
    return [folder / name for name in names]
