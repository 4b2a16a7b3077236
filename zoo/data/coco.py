"""COCO annotations as columns: one numpy array per field instead of one dictionary per object.

Source of the format: https://cocodataset.org/#format-data, and what pycocotools 2.0.11 makes of it.
Legend for shapes: I images, K categories, A annotations.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zoo.data.rle import from_segmentation
from zoo.errors import DataError, closest
from zoo.types import Rle, Size

_MAX_LISTED = 10
"""Categories that an error names."""

_LAYOUT_STEP = (
    "check that the file is COCO's own instances_*.json (images, categories, annotations), or download it again"
)


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
        segmentations: A objects as the file has them: polygons, or a run-length encoding; None where absent.
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
        document, sha256 = _read(path)
        images, image_ids = _by_id(path, document, "images")
        categories, category_ids = _by_id(path, document, "categories")
        annotations = _rows(path, document, "annotations")
        annotation_ids = _ids(path, "annotations", annotations)
        if np.any(annotation_ids == 0):  # pycocotools takes 0 for "not matched"; nothing refers to these ids
            annotation_ids = np.arange(1, len(annotations) + 1)
        image_index = _positions(path, "image_id", annotations, image_ids)
        category_index = _positions(path, "category_id", annotations, category_ids)
        by_image = np.argsort(image_index, kind="stable")
        annotations = [annotations[i] for i in by_image]
        return cls(
            sha256=sha256,
            image_ids=image_ids,
            file_names=[str(name) for name in _values(path, "images", images, "file_name")],
            heights=_integers(path, "images", images, "height"),
            widths=_integers(path, "images", images, "width"),
            category_ids=category_ids,
            category_names=[str(name) for name in _values(path, "categories", categories, "name")],
            annotation_ids=annotation_ids[by_image],
            image_index=image_index[by_image],
            category_index=category_index[by_image],
            boxes=_floats(path, annotations, "bbox", width=4).reshape(-1, 4),
            areas=_floats(path, annotations, "area", width=1).reshape(-1),
            is_crowd=_integers(path, "annotations", annotations, "iscrowd").astype(bool),
            ignore=np.array([bool(row.get("ignore", False)) for row in annotations], dtype=bool),
            segmentations=[row.get("segmentation") for row in annotations],
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

    def annotations_of(self, image: int) -> slice:
        """Where the annotations of an image lie in the columns.

        Args:
            image: position in `image_ids`.
        """
        return slice(int(self._first_of_image[image]), int(self._first_of_image[image + 1]))

    def size_of(self, image: int) -> Size:
        """(height, width) of an image, in pixels.

        Args:
            image: position in `image_ids`.
        """
        return int(self.heights[image]), int(self.widths[image])

    def rle(self, annotation: int) -> Rle:
        """The mask of an annotation at its image's size, made on first use: polygons are rasterised and merged.

        Args:
            annotation: position in the annotation columns.

        Raises:
            DataError: the annotation has no segmentation.
        """
        if annotation not in self._rles:
            size = self.size_of(int(self.image_index[annotation]))
            segmentation = self.segmentations[annotation]
            if not segmentation:
                raise DataError(
                    f"annotation {self.annotation_ids[annotation]} has no segmentation",
                    next_step="evaluate boxes only, or use annotations with masks",
                )
            self._rles[annotation] = from_segmentation(segmentation, size)
        return self._rles[annotation]

    def _id_of(self, name: str) -> int:
        """The id of the one category of a name, or of the one that has objects: some exports repeat it for a group."""
        labels = [label for label, known in enumerate(self.category_names) if known == name]
        used = set(self.category_index.tolist()).intersection(labels) if len(labels) > 1 else ()
        ids = self.category_ids[sorted(used) if len(used) == 1 else labels].tolist()
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
        )


def _read(path: Path) -> tuple[dict[str, Any], str]:
    """The document and the sha256 of its file."""
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            document = json.load(file)
    except FileNotFoundError:
        raise DataError(
            f"no annotation file at {path}",
            next_step="point data.root at a folder in COCO's own layout (annotations/instances_val2017.json, val2017/)",
        ) from None
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror or error}", next_step="make the file readable, or name another one"
        ) from None
    except ValueError as error:  # broken JSON, broken UTF-8
        raise DataError(
            f"{path} is not valid JSON: {error}", next_step="download it again: it is damaged or cut off"
        ) from None
    if not isinstance(document, dict):
        raise _layout_error(path, f"holds a {type(document).__name__}, not an object")
    return document, sha256


def _rows(path: Path, document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    rows = document.get(key)
    if not isinstance(rows, list):
        raise _layout_error(path, f"has no list {key!r}")
    if not all(isinstance(row, dict) for row in rows):
        raise _layout_error(path, f"has something in {key!r} that is not an object")
    return rows


def _by_id(path: Path, document: dict[str, Any], table: str) -> tuple[list[dict[str, Any]], npt.NDArray[np.int64]]:
    """The rows of a table in ascending order of id, and these ids."""
    rows = _rows(path, document, table)
    if not rows:
        raise _layout_error(path, f"has no {table}")
    ids = _ids(path, table, rows)
    order = np.argsort(ids)
    return [rows[i] for i in order], ids[order]


def _values(path: Path, table: str, rows: Iterable[dict[str, Any]], key: str) -> list[Any]:
    values = []
    for position, row in enumerate(rows):
        if key not in row:
            raise _layout_error(path, f"misses {key!r} in {table}[{position}] (id {row.get('id')})")
        values.append(row[key])
    return values


def _integers(path: Path, table: str, rows: Iterable[dict[str, Any]], key: str) -> npt.NDArray[np.int64]:
    values = _values(path, table, rows, key)
    if not all(isinstance(value, int) for value in values):
        raise _layout_error(path, f"has a {key!r} in {table} that is not an integer")
    return np.array(values, dtype=np.int64)


def _floats(path: Path, rows: Iterable[dict[str, Any]], key: str, *, width: int) -> npt.NDArray[np.float64]:
    """A column of numbers (width 1) or of lists of `width` numbers."""
    values = _values(path, "annotations", rows, key)
    try:
        column = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        column = None
    if column is None or column.size != len(values) * width or not np.isfinite(column).all():
        raise _layout_error(path, f"has a {key!r} in annotations that is not made of {width} finite number(s)")
    return column


def _ids(path: Path, table: str, rows: Sequence[dict[str, Any]]) -> npt.NDArray[np.int64]:
    ids = _integers(path, table, rows, "id")
    unique, counts = np.unique(ids, return_counts=True)
    if len(unique) != len(ids):
        raise _layout_error(path, f"has id {unique[counts > 1][0]} more than once in {table}")
    return ids


def _positions(
    path: Path, key: str, annotations: Sequence[dict[str, Any]], known: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Where the ids under `key` stand in the ascending ids `known`."""
    ids = _integers(path, "annotations", annotations, key)
    unknown = np.flatnonzero(~np.isin(ids, known))
    if unknown.size:
        row = annotations[unknown[0]]
        raise _layout_error(path, f"has annotation {row['id']} with the unknown {key} {row[key]}")
    return np.searchsorted(known, ids)


def _layout_error(path: Path, fault: str) -> DataError:
    return DataError(f"{path} {fault}", next_step=_LAYOUT_STEP)
