"""COCO's JSON, checked as it is read: whatever is computed from a field later was looked at here, once.

Every fault names the file and the image, category or annotation it is in, by its id.
Source of the format: https://cocodataset.org/#format-data.
"""

from __future__ import annotations

import hashlib
import json
import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import numpy.typing as npt

from zoo.errors import DataError

LARGEST_ID = 2**63 - 1
"""Ids are kept in 64 bits."""

LARGEST_IMAGE = 2**30
"""Pixels of the largest image that OpenCV decodes."""

_LAYOUT_STEP = (
    "check that the file is COCO's own instances_*.json (images, categories, annotations), or download it again"
)
_SINGULAR = {"images": "image", "categories": "category", "annotations": "annotation"}


def read_document(path: Path) -> tuple[dict[str, Any], str]:
    """The JSON object in an annotation file, and the sha256 of the file.

    Raises:
        DataError: the file is missing, cannot be read, is no JSON object, or has a key twice in one.
    """
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            document = json.load(file, object_pairs_hook=_object)
    except FileNotFoundError:
        raise DataError(
            f"no annotation file at {path}",
            next_step=f"point data.root at a folder in COCO's own layout, with {path.parent.name}/{path.name} in it",
        ) from None
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror or error}", next_step="make the file readable, or name another one"
        ) from None
    except (ValueError, RecursionError) as error:  # broken JSON, broken UTF-8, brackets without end
        raise DataError(
            f"{path} is not valid JSON: {error}", next_step="download it again: it is damaged or cut off"
        ) from None
    if not isinstance(document, dict):
        raise layout_error(path, f"holds a {type(document).__name__}, not an object")
    return document, sha256


@dataclass(frozen=True)
class Table:
    """One of the lists of an annotation file.

    Attributes:
        path: the file.
        name: "images", "categories" or "annotations".
        rows: its objects.
    """

    path: Path
    name: str
    rows: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, path: Path, document: Mapping[str, Any], name: str) -> Table:
        """The list of a document. Raises DataError where it is none, or not made of objects."""
        rows = document.get(name)
        if not isinstance(rows, list):
            raise layout_error(path, f"has no list {name!r}")
        table = cls(path, name, rows)
        for position, row in enumerate(rows):
            if not isinstance(row, dict):
                raise layout_error(path, f"has something in {name!r} that is not an object, at position {position}")
        return table

    def sorted_by(self, order: npt.NDArray[np.int64]) -> Table:
        """The same rows in another order."""
        return Table(self.path, self.name, [self.rows[position] for position in order.tolist()])

    def fault(self, row: Mapping[str, Any], text: str) -> DataError:
        """An error in one of the rows."""
        label = (
            f"{_SINGULAR[self.name]} {_shown(row['id'])}" if "id" in row else f"one of the {self.name} without an id"
        )
        return layout_error(self.path, f"has {label} {text}")

    def values(self, key: str, fits: Callable[[Any], bool], kind: str) -> list[Any]:
        """A column.

        Args:
            key: of the rows.
            fits: whether a value is of the kind.
            kind: what values have to be, for the message.

        Raises:
            DataError: a row does not have the key, or another kind of value.
        """
        column = []
        for row in self.rows:
            if key not in row:
                raise self.fault(row, f"without {key!r}")
            if not fits(row[key]):
                raise self.fault(row, f"whose {key!r} is not {kind}: {_shown(row[key])}")
            column.append(row[key])
        return column

    def ids(self) -> npt.NDArray[np.int64]:
        """The column "id", int64. Raises DataError where one is there twice."""
        ids = np.array(self.values("id", is_id, "an integer of 64 bits"), dtype=np.int64)
        unique, counts = np.unique(ids, return_counts=True)
        if len(unique) != len(ids):
            raise layout_error(self.path, f"has id {unique[counts > 1][0]} more than once in {self.name}")
        return ids

    def positions(self, key: str, known: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Where the ids in a column stand among ascending known ones. Raises DataError for an unknown one."""
        ids = np.array(self.values(key, is_id, "an integer of 64 bits"), dtype=np.int64)
        unknown = np.flatnonzero(~np.isin(ids, known))
        if unknown.size:
            row = self.rows[unknown[0]]
            raise self.fault(row, f"with the unknown {key} {row[key]}")
        return np.searchsorted(known, ids)

    def texts(self, key: str) -> list[str]:
        """A column of texts that are not empty."""
        return self.values(key, lambda value: isinstance(value, str) and value != "", "a text")

    def flags(self, key: str) -> npt.NDArray[np.bool_]:
        """A column of 0 and 1."""
        return np.array(self.values(key, lambda value: value in (0, 1), "0 or 1"), dtype=bool)

    def boxes(self, key: str) -> npt.NDArray[np.float64]:
        """A column of boxes (rows, 4), no side or corner of which is farther out than an image can reach."""
        column = self.numbers(key, 4)
        far = np.flatnonzero(np.abs(column).max(axis=1, initial=0) > LARGEST_IMAGE)
        if far.size:
            row = self.rows[far[0]]
            raise self.fault(row, f"whose {key!r} lies outside of any image: {_shown(row[key])}")
        return column

    def numbers(self, key: str, width: int) -> npt.NDArray[np.float64]:
        """A column of finite numbers (rows,), or of lists of `width` of them, (rows, width)."""
        column = as_numbers([row.get(key) for row in self.rows])
        shape = (len(self.rows),) if width == 1 else (len(self.rows), width)
        if column is None or (len(self.rows) and column.shape != shape):  # look for the one that does not fit
            kind = "a finite number" if width == 1 else f"a list of {width} finite numbers"
            self.values(key, is_number if width == 1 else lambda value: is_numbers(value, width), kind)
            raise layout_error(self.path, f"has {self.name} whose {key!r} is not {kind}")
        return column.reshape(shape)


def is_id(value: Any) -> bool:
    """Whether a value is an integer that fits 64 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_ID


def is_side(value: Any) -> bool:
    """Whether a value can be the height or the width of an image."""
    return is_id(value) and 1 <= value <= LARGEST_IMAGE


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; an integer has to fit 64 bits."""
    return is_id(value) or (isinstance(value, float) and math.isfinite(value))


def is_numbers(value: Any, width: int) -> bool:
    """Whether a value is a list of as many finite numbers."""
    return isinstance(value, list) and len(value) == width and all(map(is_number, value))


def is_inside(name: Any) -> bool:
    """Whether a text is the name of a file inside a folder, which it cannot leave; "a/1.jpg" is."""
    if not isinstance(name, str) or not name or "\0" in name:
        return False
    path, elsewhere = PurePosixPath(name), PureWindowsPath(name)
    return bool(path.parts) and not (path.is_absolute() or elsewhere.drive or ".." in (*path.parts, *elsewhere.parts))


def as_numbers(values: Sequence[Any]) -> npt.NDArray[np.float64] | None:
    """Numbers, or lists of equal length of them, as an array; None where something else is among them."""
    try:
        column = np.array(values) if len(values) else np.empty(0)
    except ValueError:  # lists of different lengths
        return None
    if column.dtype.kind not in "iuf" or not np.isfinite(column).all():
        return None
    return column.astype(np.float64)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, its polygons packed while the others are not yet read: unpacked they are most of a file."""
    values = dict(pairs)
    if len(values) < len(pairs):  # of a key that stands there twice every reader takes another value
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {double[:60]!r} stands there twice in one object")
    polygons = values.get("segmentation")
    if isinstance(polygons, list):
        values["segmentation"] = [_packed(polygon) for polygon in polygons]
    return values


def _packed(polygon: Any) -> Any:
    """A list of numbers as float64; anything else as it is, to be told about."""
    if not isinstance(polygon, list):
        return polygon
    try:
        return array("d", polygon)
    except (TypeError, OverflowError):
        return polygon


def layout_error(path: Path, fault: str) -> DataError:
    """An error in an annotation file."""
    return DataError(f"{path} {fault}", next_step=_LAYOUT_STEP)


def _shown(value: Any) -> str:
    """A value in a message, shortened."""
    text = repr(value) if isinstance(value, int | float | str | None) else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
