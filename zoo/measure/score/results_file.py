"""Anybody's detections, read from a file in COCO's results format (https://cocodataset.org/#format-results).

Legend for shapes: D detections.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from zoo.coco_tasks import IouType
from zoo.data.coco import CocoGroundTruth
from zoo.data.keypoints import KEYPOINT_NAMES
from zoo.data.rle_runs import are_whole, parse_runs
from zoo.errors import DataError
from zoo.measure.coco_eval.columns import DetectionColumns
from zoo.runtime.collector import no_collection
from zoo.types import Rle

Row = Mapping[str, Any]

_STEP = (
    "write COCO's results format, a list of "
    '{"image_id": 1, "category_id": 1, "bbox": [x, y, width, height], "score": 0.9}'
)

_WRAPPERS = ("annotations", "predictions", "detections", "results")
"""Keys under which people put the list."""

UNKNOWN = np.iinfo(np.int64).min
"""The id of an image or a category whose name the annotations do not have: no file can hold it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What a results file says.

    Attributes:
        columns: the detections; image ids that are names of files, and ids of categories that are named, are looked up
            in the annotations, and `UNKNOWN` where these do not have them.
        category_names: the name of each detection's category, D of them; None where the file has ids alone.
        given_ids: int64 (D,), the category ids that stand beside the names; None where there are none.
        has_boxes: whether the file has boxes; where it has keypoints alone, the columns have the smallest boxes about
            these.
        unscored: what detections of the file have that cannot be scored -> why, in words.
    """

    columns: DetectionColumns
    category_names: list[str] | None = None
    given_ids: npt.NDArray[np.int64] | None = None
    has_boxes: bool = True
    unscored: Mapping[IouType, str] = field(default_factory=dict)

    @property
    def iou_types(self) -> tuple[IouType, ...]:
        """What can be scored."""
        return tuple(kind for kind in self.columns.iou_types if kind != "bbox" or self.has_boxes)


def read_predictions(path: Path, ground_truth: CocoGroundTruth) -> Predictions:
    """Read detections. Numbers that are not finite are read as they are: who looks at them names them.

    Args:
        path: the file; image ids may also be names of image files, with or without their endings, and a
            `category_name` counts before a `category_id`.
        ground_truth: the annotations that images and categories are looked up in.

    Raises:
        DataError: the file is missing, no JSON, or not in the format; the message says at which detection.
    """
    rows = _rows(path)
    image_id = _image_ids(path, rows, ground_truth)
    names = None
    if rows and all("category_name" in row for row in rows):
        names = _column(path, rows, "category_name", str, "a text")
    given = None
    if names is None or all("category_id" in row for row in rows):
        given = _integers(path, rows, "category_id")
    keypoints = _keypoints(path, rows, ground_truth)
    has_boxes = keypoints is None or any("bbox" in row for row in rows)
    columns = DetectionColumns(
        image_id=image_id,
        category_id=_ids_of(names, ground_truth) if names is not None else np.asarray(given, dtype=np.int64),
        bbox=_numbers(path, rows, "bbox", 4) if keypoints is None or has_boxes else _about(keypoints),
        score=_numbers(path, rows, "score", 1).reshape(-1),
        segmentation=_masks(path, rows, image_id, ground_truth),
        keypoints=keypoints,
    )
    return Predictions(
        columns=columns,
        category_names=names,
        given_ids=given if names is not None else None,
        has_boxes=has_boxes,
        unscored=dict(_unscored(rows, columns, ground_truth)),
    )


def _rows(path: Path) -> list[Row]:
    """The detections of a file, as they stand there."""
    try:
        with no_collection():
            document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"no detections {path}", next_step="give a file in COCO's results format") from None
    except OSError as error:
        message = f"cannot read {path}: {error.strerror or error}"
        raise DataError(message, next_step="give a file that can be read") from None
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise DataError(f"{path} is no JSON: {reason}", next_step=_STEP) from None
    if isinstance(document, dict):
        inner = next((key for key in _WRAPPERS if isinstance(document.get(key), list)), None)
        keys = ", ".join(list(document)[:5])
        hint = f"write the list under {inner!r} alone" if inner else _STEP
        raise DataError(f"{path} is an object ({keys}), not a list of detections", next_step=hint)
    if not isinstance(document, list):
        raise DataError(f"{path} is no list of detections", next_step=_STEP)
    for i, row in enumerate(document):
        if not isinstance(row, dict):
            raise _fault(path, i, f"is no object: {_shown(row)}")
    return document


def _image_ids(path: Path, rows: Sequence[Row], truth: CocoGroundTruth) -> npt.NDArray[np.int64]:
    """The id of each detection's image, int64 (D,); a text is the name of its file, or a number in quotes."""
    if not rows or not isinstance(rows[0].get("image_id"), str):
        return _integers(path, rows, "image_id")
    texts = _column(path, rows, "image_id", str, "a text, as those before it are")
    ids = truth.image_ids.tolist()
    known = dict(zip(map(str, ids), ids, strict=True))
    names = [PurePosixPath(name) for name in truth.file_names]
    for spelled in ([name.stem for name in names], [name.name for name in names], [str(name) for name in names]):
        alone = {text for text, count in Counter(spelled).items() if count == 1}
        known |= {text: image for text, image in zip(spelled, ids, strict=True) if text in alone}
    return np.array([known.get(text, UNKNOWN) for text in texts], dtype=np.int64)


def _ids_of(names: Sequence[str], truth: CocoGroundTruth) -> npt.NDArray[np.int64]:
    """The annotations' category id of each name, int64 (D,); the first where a name stands there twice."""
    pairs = zip(truth.category_names, truth.category_ids.tolist(), strict=True)
    known: dict[str, int] = {}
    for name, category in pairs:
        known.setdefault(name, category)
    return np.array([known.get(name, UNKNOWN) for name in names], dtype=np.int64)


def _masks(
    path: Path, rows: Sequence[Row], image_id: npt.NDArray[np.int64], truth: CocoGroundTruth
) -> list[Rle] | None:
    """The mask of each detection, of the size of its image; None unless all have one and the annotations do too."""
    if not rows or not any(truth.segmentations) or not all(row.get("segmentation") for row in rows):
        return None
    known = dict(zip(truth.image_ids.tolist(), truth.sizes, strict=True))
    sizes = [known.get(image) for image in image_id.tolist()]
    for i, (row, size) in enumerate(zip(rows, sizes, strict=True)):
        mask = row["segmentation"]
        if not isinstance(mask, dict) or not isinstance(mask.get("counts"), str):
            raise _fault(path, i, "has a 'segmentation' that is no compressed run-length encoding")
        if size is not None and mask.get("size") != list(size):
            raise _fault(path, i, f"has a mask of size {mask.get('size')}; its image is {list(size)}, [height, width]")
    masks = [Rle(size=row["segmentation"]["size"], counts=row["segmentation"]["counts"]) for row in rows]
    pixels = [None if size is None else size[0] * size[1] for size in sizes]
    if not are_whole([mask["counts"] for mask in masks], pixels):
        _find_broken(path, masks, pixels)
    return masks


def _keypoints(path: Path, rows: Sequence[Row], truth: CocoGroundTruth) -> npt.NDArray[np.float64] | None:
    """The keypoints of each detection, (D, 17, 3); None unless all have them and the annotations do too."""
    if not rows or not truth.has_person_keypoints or not all(row.get("keypoints") for row in rows):
        return None
    return _numbers(path, rows, "keypoints", 3 * len(KEYPOINT_NAMES)).reshape(len(rows), len(KEYPOINT_NAMES), 3)


_OPTIONAL: Mapping[IouType, str] = {"segm": "segmentation", "keypoints": "keypoints"}
"""What not all detections have, and its key in the format."""


def _unscored(rows: Sequence[Row], columns: DetectionColumns, truth: CocoGroundTruth) -> Iterator[tuple[IouType, str]]:
    """What detections have that cannot be scored, and why."""
    there = {"segm": any(truth.segmentations), "keypoints": truth.has_person_keypoints}
    for kind, key in _OPTIONAL.items():
        lacking = sum(not row.get(key) for row in rows)
        if lacking < len(rows) and kind not in columns.iou_types:
            some = f"{lacking} of {len(rows)} detections have none"
            yield kind, some if there[kind] else "the annotations have none that can be scored"


def _about(keypoints: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The smallest boxes about keypoints (D, K, 3), float64 (D, 4), xywh."""
    low, high = keypoints[:, :, :2].min(axis=1), keypoints[:, :, :2].max(axis=1)
    return np.concatenate((low, high - low), axis=1)


def _find_broken(path: Path, masks: Sequence[Rle], pixels: Sequence[int | None]) -> None:
    """Raise DataError: the first of some masks that cannot be read, or has not the pixels of its image."""
    for i, (mask, expected) in enumerate(zip(masks, pixels, strict=True)):
        try:
            runs = parse_runs(mask["counts"])
        except ValueError as error:
            raise _fault(path, i, f"has a mask that cannot be read: {error}") from None
        if expected is not None and (runs.min(initial=0) < 0 or runs.sum() != expected):
            raise _fault(path, i, f"has a mask of {runs.sum()} pixels; its image has {expected}")


def _integers(path: Path, rows: Sequence[Row], key: str) -> npt.NDArray[np.int64]:
    """A column of ids, int64 (D,)."""
    values = _column(path, rows, key, int, "an integer")
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError:
        i = next(i for i, value in enumerate(values) if abs(value) >= 2**63)
        raise _fault(path, i, f"has a {key!r} beyond 64 bits") from None


def _column(path: Path, rows: Sequence[Row], key: str, kind: type, described: str) -> list[Any]:
    """A column of values of one type."""
    values = [row.get(key) for row in rows]
    if not {type(value) for value in values} <= {kind}:
        i = next(i for i, value in enumerate(values) if type(value) is not kind)
        raise _fault(path, i, _unfit(rows[i], key, described))
    return values


def _numbers(path: Path, rows: Sequence[Row], key: str, width: int) -> npt.NDArray[np.float64]:
    """A column of numbers, or of lists of them: float64 (D, width). NaN and infinities stay."""
    values = [row.get(key) for row in rows]
    try:
        column = np.array(values) if values else np.empty((0, width))
        shape = (len(rows),) if width == 1 else (len(rows), width)
        if column.dtype.kind in "iuf" and column.shape in (shape, (0, width)):
            return column.reshape(len(rows), width).astype(np.float64)
    except ValueError:  # lists of different lengths
        pass
    described = "a number" if width == 1 else f"a list of {width} numbers"
    for i, value in enumerate(values):
        numbers = value if isinstance(value, list) and width > 1 else [value]
        if len(numbers) != width or not all(type(number) in (int, float) for number in numbers):
            raise _fault(path, i, _unfit(rows[i], key, described))
    raise DataError(f"{path} has a {key!r} beyond the range of numbers", next_step=_STEP)


def _unfit(row: Row, key: str, described: str) -> str:
    if key not in row:
        return f"has no {key!r}"
    return f"has a {key!r} that is not {described}: {_shown(row[key])}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _fault(path: Path, position: int, text: str) -> DataError:
    return DataError(f"{path}: detection {position} (the first is 0) {text}", next_step=_STEP)
