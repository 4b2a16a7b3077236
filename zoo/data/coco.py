"""COCO annotations as columns: one numpy array per field instead of one dictionary per object.

Source of the format: https://cocodataset.org/#format-data, and what pycocotools 2.0.11 makes of it.
Legend for shapes: I images, K categories, A annotations, P keypoints of an object.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zoo.coco_tasks import IouType
from zoo.data.coco_json import LARGEST_IMAGE, Table, is_inside, is_side, layout_error, read_document
from zoo.data.keypoints import keypoint_names, read_keypoints, unlike_coco
from zoo.data.rle import from_segmentations
from zoo.data.segmentations import checked_segmentations
from zoo.errors import DataError, closest
from zoo.runtime.collector import no_collection
from zoo.types import Rle, Size

_MAX_LISTED = 10
"""Categories that an error names."""


@dataclass(frozen=True, eq=False, kw_only=True)
class CocoGroundTruth:
    """The annotations of a data set in COCO's layout.

    Images ascend by id, as pycocotools sorts them. Annotations are grouped by image and keep the order of the
    file within one: evaluation breaks ties by it.

    Attributes:
        sha256: of the annotation file, lower-case hex; a subset keeps its file's.
        image_ids: int64 (I,), ascending.
        file_names: I names, relative to the image folder.
        heights: int64 (I,), pixels.
        widths: int64 (I,), pixels.
        category_ids: int64 (K,), in the order of labels: label l of a detector is category `category_ids[l]`.
            Ascending as a file is read, in the order of the class list after `with_categories`.
        category_names: K names, in the same order.
        annotation_ids: int64 (A,), never 0: where a file has one, they are numbered from 1 in its order.
        image_index: int64 (A,), positions in `image_ids`, ascending.
        category_index: int64 (A,), positions in `category_ids`, which are labels.
        boxes: float64 (A, 4), x, y, width, height in pixels.
        areas: float64 (A,), square pixels, of the mask where the data set has masks.
        is_crowd: bool (A,).
        ignore: bool (A,), the optional `ignore` key. Training may skip such objects; evaluation does not read it,
            because pycocotools overwrites it with `iscrowd`.
        segmentations: A objects as the file has them: polygons, float64 (L,) each, x, y, x, y, ...; or a run-length
            encoding; None where absent.
        keypoints: float64 (A, P, 3), x and y in pixels and visibility (0 not labelled, 1 hidden, 2 visible); None where
            the file has none.
        num_keypoints: int64 (A,), how many of them are labelled, as the file counts them; likewise.
        keypoint_names: P names; empty where the file does not say.
    """

    sha256: str
    image_ids: npt.NDArray[np.int64]
    file_names: list[str]
    heights: npt.NDArray[np.int64]
    widths: npt.NDArray[np.int64]
    category_ids: npt.NDArray[np.int64]
    category_names: list[str]
    annotation_ids: npt.NDArray[np.int64]
    image_index: npt.NDArray[np.int64]
    category_index: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float64]
    areas: npt.NDArray[np.float64]
    is_crowd: npt.NDArray[np.bool_]
    ignore: npt.NDArray[np.bool_]
    segmentations: list[Any]
    keypoints: npt.NDArray[np.float64] | None = None
    num_keypoints: npt.NDArray[np.int64] | None = None
    keypoint_names: tuple[str, ...] = ()
    _first_of_image: npt.NDArray[np.int64] = field(init=False, repr=False)
    _rles: dict[int, Rle] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        first = np.searchsorted(self.image_index, np.arange(len(self.image_ids) + 1))  # (I + 1,)
        object.__setattr__(self, "_first_of_image", first)

    def __len__(self) -> int:
        """The number of images."""
        return len(self.image_ids)

    @classmethod
    def load(cls, path: Path) -> CocoGroundTruth:
        """Read an annotation file in COCO's own JSON.

        Raises:
            DataError: the file is missing, not JSON, not in COCO's layout, or contradicts itself.
        """
        document, sha256 = read_document(path)
        images, categories = (_by_id(path, document, name) for name in ("images", "categories"))
        annotations = Table.of(path, document, "annotations")
        annotation_ids = annotations.ids()
        if np.any(annotation_ids == 0):  # pycocotools takes 0 for "not matched"; nothing refers to these ids
            annotation_ids = np.arange(1, len(annotation_ids) + 1)
        image_ids, category_ids = images.ids(), categories.ids()
        by_image = np.argsort(annotations.positions("image_id", image_ids), kind="stable")
        annotations = annotations.sorted_by(by_image)
        image_index = annotations.positions("image_id", image_ids)
        sizes = _sizes(images)
        keypoints, num_keypoints = read_keypoints(annotations)
        return cls(
            sha256=sha256,
            image_ids=image_ids,
            file_names=images.values("file_name", is_inside, "the name of a file inside the folder of the images"),
            heights=sizes[:, 0],
            widths=sizes[:, 1],
            category_ids=category_ids,
            category_names=categories.texts("name"),
            annotation_ids=annotation_ids[by_image],
            image_index=image_index,
            category_index=annotations.positions("category_id", category_ids),
            boxes=annotations.boxes("bbox"),
            areas=annotations.numbers("area", 1),
            is_crowd=annotations.flags("iscrowd"),
            ignore=np.array([bool(row.get("ignore", False)) for row in annotations.rows], dtype=bool),
            segmentations=checked_segmentations(annotations, sizes[image_index]),
            keypoints=keypoints,
            num_keypoints=num_keypoints,
            keypoint_names=keypoint_names(categories),
        )

    def subset(self, limit: int) -> CocoGroundTruth:
        """The first `limit` images in ascending order of id, with their annotations; all where there are fewer.

        Raises:
            DataError: `limit` is below 1.
        """
        if limit < 1:
            raise DataError(f"a subset of {limit} images is empty", next_step="give data.limit at least 1")
        images = slice(min(limit, len(self)))
        return replace(
            self._annotations(np.arange(self._first_of_image[images.stop])),
            image_ids=self.image_ids[images],
            file_names=self.file_names[images],
            heights=self.heights[images],
            widths=self.widths[images],
        )

    def with_categories(self, names: Sequence[str], *, optional: Collection[str] = ()) -> CocoGroundTruth:
        """The same images with the categories of these names, in their order, whatever their ids are.

        Args:
            names: the class list of a detector: label l is the category called `names[l]`.
            optional: those of them that the file need not have. Such a category gets an id of its own and has no
                object, so that it counts in no average over classes.

        Raises:
            DataError: no name is given, one is given twice, or one is the name of no category or of several.
        """
        if not names:
            raise DataError("no category is left to evaluate", next_step="name at least one category")
        absent = [name for name in names if name in optional and name not in self.category_names]
        made_up = {name: int(self.category_ids.max()) + i for i, name in enumerate(absent, start=1)}
        ids = np.array([made_up.get(name) or self._id_of(name) for name in names], dtype=np.int64)
        if len(set(names)) < len(names):
            twice = next(name for i, name in enumerate(names) if name in names[:i])
            raise DataError(f"the class list has {twice!r} more than once", next_step="name each category once")
        label_of = {category: label for label, category in enumerate(ids.tolist())}
        labels = np.array([label_of.get(category, -1) for category in self.category_ids.tolist()])[self.category_index]
        kept = np.flatnonzero(labels >= 0)
        return replace(
            self._annotations(kept), category_ids=ids, category_names=list(names), category_index=labels[kept]
        )

    def without(self, excluded: npt.NDArray[np.bool_]) -> CocoGroundTruth:
        """The same images and categories without some of the annotations, by a mask (A,)."""
        return self._annotations(np.flatnonzero(~excluded))

    def annotations_of(self, image: int) -> slice:
        """Where the annotations of an image lie in the columns.

        Args:
            image: position in `image_ids`.
        """
        return slice(int(self._first_of_image[image]), int(self._first_of_image[image + 1]))

    @property
    def sizes(self) -> list[Size]:
        """(height, width) of every image, in pixels."""
        return list(zip(self.heights.tolist(), self.widths.tolist(), strict=True))

    def size_of(self, image: int) -> Size:
        """(height, width) of an image, in pixels.

        Args:
            image: position in `image_ids`.
        """
        return int(self.heights[image]), int(self.widths[image])

    def require_masks(self) -> None:
        """Raise DataError where an annotation has no segmentation: before work begins, not in its midst."""
        lacking = [i for i, segmentation in enumerate(self.segmentations) if segmentation is None]
        if lacking:
            number, first = f"{len(lacking):,} of {len(self.segmentations):,}", self.annotation_ids[lacking[0]]
            raise DataError(
                f"{number} annotations have no segmentation, such as annotation {first}",
                next_step="complete their masks, or leave all of them out to evaluate boxes alone",
            )

    @property
    def has_person_keypoints(self) -> bool:
        """Whether there are keypoints, COCO's 17 of a person."""
        return self.keypoints is not None and unlike_coco(self.keypoints.shape[1], self.keypoint_names) is None

    def require_keypoints(self) -> npt.NDArray[np.float64]:
        """The keypoints, float64 (A, 17, 3). Raises DataError where they are not there, or are not COCO's 17."""
        if self.keypoints is None:
            raise DataError(
                "the annotations have no keypoints",
                next_step="use annotations with keypoints, such as COCO's person_keypoints_val2017.json",
            )
        difference = unlike_coco(self.keypoints.shape[1], self.keypoint_names)
        if difference is not None:
            raise DataError(
                f"the annotations have other keypoints than COCO's 17 of a person: {difference}",
                next_step="evaluate boxes alone: how far off each may be is defined for COCO's keypoints only",
            )
        return self.keypoints

    def uncounted(self, iou_type: IouType) -> npt.NDArray[np.bool_]:
        """Which annotations, bool (A,), no evaluation asks for: crowds, and where keypoints are compared those without.

        Args:
            iou_type: what is compared.
        """
        if iou_type != "keypoints" or self.num_keypoints is None:
            return self.is_crowd
        uncounted: npt.NDArray[np.bool_] = self.is_crowd | (self.num_keypoints == 0)
        return uncounted

    def rle(self, annotation: int) -> Rle:
        """The mask of an annotation, see `rles`.

        Args:
            annotation: position in the annotation columns.

        Raises:
            DataError: the annotation has no segmentation.
        """
        return self.rles([annotation])[0]

    def rles(self, annotations: Sequence[int]) -> list[Rle]:
        """Masks at the size of their images, made on first use: polygons are rasterised and merged.

        Args:
            annotations: positions in the annotation columns.

        Raises:
            DataError: an annotation has no segmentation.
        """
        lacking = np.array([one for one in annotations if one not in self._rles], dtype=np.int64)
        lacking = lacking[self.image_index[lacking].argsort(kind="stable")]
        begins = np.flatnonzero(np.diff(self.image_index[lacking], prepend=-1)).tolist()  # of each image
        with no_collection():
            for begin, end in pairwise((*begins, len(lacking))):
                members = lacking[begin:end].tolist()
                segmentations = [self.segmentations[member] for member in members]
                if None in segmentations:
                    number = self.annotation_ids[members[segmentations.index(None)]]
                    next_step = "evaluate boxes only, or use annotations with masks"
                    raise DataError(f"annotation {number} has no segmentation", next_step=next_step)
                masks = from_segmentations(segmentations, self.size_of(int(self.image_index[members[0]])))
                self._rles.update(zip(members, masks, strict=True))
        return [self._rles[annotation] for annotation in annotations]

    def _id_of(self, name: str) -> int:
        """The id of the one category of a name, or of the one that has objects: some exports repeat it for a group."""
        labels = [label for label, known in enumerate(self.category_names) if known == name]
        used = set(self.category_index.tolist()).intersection(labels) if len(labels) > 1 else ()
        ids: list[int] = self.category_ids[sorted(used) if len(used) == 1 else labels].tolist()
        if len(ids) > 1:
            raise DataError(
                f"the annotations have {len(ids)} categories of the name {name!r}: ids {', '.join(map(str, ids))}",
                next_step="merge them, or rename all but one",
            )
        if not ids:
            raise DataError(
                f"the annotations have no category {name!r}: {self._categories()}",
                next_step=f"name categories of the data set ({closest(name, self.category_names)})",
            )
        return ids[0]

    def _categories(self) -> str:
        """The first categories with their ids, for messages."""
        pairs = [f"{i} is {name!r}" for i, name in zip(self.category_ids, self.category_names, strict=True)]
        rest = len(pairs) - _MAX_LISTED
        return f"id {', '.join(pairs[:_MAX_LISTED])}" + (f" and {rest} more" if rest > 0 else "")

    def _annotations(self, kept: npt.NDArray[np.int64]) -> CocoGroundTruth:
        """The same images and categories with some of the annotations, by ascending position."""
        return replace(
            self,
            annotation_ids=self.annotation_ids[kept],
            image_index=self.image_index[kept],
            category_index=self.category_index[kept],
            boxes=self.boxes[kept],
            areas=self.areas[kept],
            is_crowd=self.is_crowd[kept],
            ignore=self.ignore[kept],
            segmentations=[self.segmentations[position] for position in kept],
            keypoints=None if self.keypoints is None else self.keypoints[kept],
            num_keypoints=None if self.num_keypoints is None else self.num_keypoints[kept],
        )


def _by_id(path: Path, document: dict[str, Any], name: str) -> Table:
    """A table that is not empty, in ascending order of id."""
    table = Table.of(path, document, name)
    if not table.rows:
        raise layout_error(path, f"has no {name}")
    return table.sorted_by(np.argsort(table.ids()))


def _sizes(images: Table) -> npt.NDArray[np.int64]:
    """(height, width) of images, int64 (I, 2)."""
    sides = [images.values(key, is_side, "a number of pixels") for key in ("height", "width")]
    sizes = np.array(sides, dtype=np.int64).T
    for row, (height, width) in zip(images.rows, sizes.tolist(), strict=True):
        if height * width > LARGEST_IMAGE:
            raise images.fault(row, f"of {width} x {height} pixels, more than an image can have")
    return sizes
