"""Splits of COCO 2014 that are splits of 2017 under other names, and how a folder has their files.

Before 2017 detectors were trained on `trainval35k`, which is train2014 and all of val2014 but 5,000 images, and
evaluated on those, `minival2014`. No rule yields the 5,000: they were drawn at random once, by the makers of
py-faster-rcnn. The images of 2014 and 2017 have the same ids; only the names of the files differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from zoo.data.coco import CocoGroundTruth
from zoo.data.folder import missing_images
from zoo.errors import DataError

_OWN_DATA = "evaluate it as data of your own with data=folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class EquivalentSplit:
    """The split of COCO 2017 that a split of 2014 is taken as.

    Attributes:
        name: the split of 2014.
        split: the split of 2017.
        num_images: number of its images.
        evidence: why the two are believed to have the same images, as the end of a sentence.
        years: the folders of 2014 that its images lie in; `COCO_<folder>_` begins their names.
        annotations: annotation file of 2014, relative to the root; None where there is no single one.
        image_ids_sha256: hash over the ids of its images, ascending, one a line; None where it is not known.
    """

    name: str
    split: str
    num_images: int
    evidence: str
    years: tuple[str, ...]
    annotations: str | None = None
    image_ids_sha256: str | None = None

    def load(self, root: Path, annotations: str) -> tuple[Path, CocoGroundTruth]:
        """The annotations in a folder of the layout of 2017, or else of 2014.

        Args:
            root: the folder.
            annotations: file that is asked for, relative to the root; only where it is that of 2017 and is not
                there, that of 2014 is taken.

        Returns:
            The file, and what it says.

        Raises:
            DataError: there is no file, it is damaged, or that of 2014 names other images than the split has.
        """
        file = root / annotations
        if file.is_file() or annotations != self._annotations_of_2017 or not root.is_dir():
            return file, CocoGroundTruth.load(file)
        if self.annotations is not None and (root / self.annotations).is_file():
            file = root / self.annotations
            loaded = CocoGroundTruth.load(file)
            self._check_images(file, loaded)
            return file, loaded
        raise self._no_annotations(root)

    def image_files(self, root: Path, images: str, ground_truth: CocoGroundTruth) -> list[Path]:
        """The image files of a split, by their names of 2017 or of 2014, in the order of the annotations.

        Args:
            root: the folder.
            images: folder of images that is asked for, relative to the root; only where it is that of 2017 the
                folders of 2014 are looked into too.
            ground_truth: annotations.

        Raises:
            DataError: there is no such folder, or images are missing.
        """
        folders = (images, *self.years) if images == self.split else (images,)
        looked_into = " and ".join(f"{folder}/" for folder in folders)
        if not any((root / folder).is_dir() for folder in folders):
            message = f"{root}: no folder of images, looked for {looked_into}"
            raise DataError(message, next_step="check data.root, or name the folder with data.images=FOLDER")
        named = zip(ground_truth.image_ids.tolist(), ground_truth.file_names, strict=True)
        candidates = [
            [f"{folder}/{name}" for folder in folders for name in (file_name, *self._names(image_id))]
            for image_id, file_name in named
        ]
        absent = set(missing_images(root, chain.from_iterable(candidates)))
        found = [next((name for name in names if name not in absent), None) for names in candidates]
        missing = [names[0] for names, name in zip(candidates, found, strict=True) if name is None]
        if missing:
            message = f"{root}: lacks {len(missing)} of {len(found)} images, such as {missing[0]}, in {looked_into}"
            raise DataError(message, next_step="complete the folder, or limit the run with data.limit=N")
        return [root / name for name in found if name is not None]

    def _names(self, image_id: int) -> list[str]:
        """What the file of an image is called in 2017 and in 2014."""
        return [f"{image_id:012d}.jpg", *(f"COCO_{year}_{image_id:012d}.jpg" for year in self.years)]

    @property
    def _annotations_of_2017(self) -> str:
        return f"annotations/instances_{self.split}.json"

    def _check_images(self, file: Path, loaded: CocoGroundTruth) -> None:
        """Raise DataError where annotations under the split's name are of other images."""
        instead = f"put {self._annotations_of_2017} beside it, or {_OWN_DATA}"
        if len(loaded) != self.num_images:
            message = f"{file}: names {len(loaded):,} images, {self.name} has {self.num_images:,}"
            raise DataError(message, next_step=instead)
        if self.image_ids_sha256 not in (None, image_ids_sha256(loaded)):
            message = f"{file}: its images are not those of {self.name}, whose ids are those of {self.split}"
            raise DataError(f"{message} (other lists of 5,000 go by the same name)", next_step=instead)

    def _no_annotations(self, root: Path) -> DataError:
        files = [self._annotations_of_2017, *([self.annotations] if self.annotations else [])]
        message = f"{root}: no annotations of {self.name}, looked for {' and '.join(files)}"
        years = [f"instances_{year}.json" for year in self.years]
        there = [name for name in years if (root / "annotations" / name).is_file()]
        if there:
            message = f"{message}; which images those are cannot be told from {' and '.join(there)}"
        step = f"add {self._annotations_of_2017} of COCO 2017: it has the same images, whose files may stay as they are"
        return DataError(message, next_step=step)


def image_ids_sha256(ground_truth: CocoGroundTruth) -> str:
    """The hash over the ids of all images, ascending, in decimal, one a line."""
    return hashlib.sha256("\n".join(map(str, ground_truth.image_ids.tolist())).encode()).hexdigest()


_EQUIVALENT = (
    EquivalentSplit(
        name="minival2014",
        split="val2017",
        num_images=5000,
        evidence="the same images by Detectron's data notes, whose authors made the split; its own annotation file was "
        "not at hand to compare",
        years=("val2014",),
        annotations="annotations/instances_minival2014.json",
        image_ids_sha256="1d158ad41c99a053bef0f51e7468b7f183408dec16e5f8162fdfa2203104ba04",
    ),
    EquivalentSplit(
        name="trainval35k",
        split="train2017",
        num_images=118_287,
        evidence="the same images by Detectron's data notes, and by their number, 82,783 + 40,504 - 5,000",
        years=("train2014", "val2014"),
    ),
)

EQUIVALENT: Mapping[tuple[str, str], EquivalentSplit] = {
    ("coco_minival2014", split.name): split for split in _EQUIVALENT
}
"""By data set and split, as conf/data names them."""
