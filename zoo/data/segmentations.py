"""The `segmentation` of every annotation, checked as it is read: what lies in it goes to C code unseen later.

Polygons, run lengths, or the compressed text of them; see `zoo.data.rle` for the latter two.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from zoo.data.coco_json import Table, is_id, is_number
from zoo.data.rle_runs import are_whole, parse_runs

log = logging.getLogger(__name__)

Polygon: TypeAlias = "array[float] | list[float]"
"""x, y, x, y, ... in pixels, as a file is read. A list where something else is among them, which is an error."""

FEWEST_NUMBERS = 6
"""Numbers of the smallest polygon that has an area: three points."""

FARTHEST = 16
"""How far a point may lie beyond its image, in longer sides of it: rasterising walks along every edge."""

_AT_A_TIME = 4_000
"""Annotations whose polygons are looked at together."""


def checked_segmentations(annotations: Table, sizes: npt.NDArray[np.int64]) -> list[Any]:
    """The segmentation of every annotation: polygons (L,), a run-length encoding, or None where there is none.

    Polygons of fewer than three points have no area, and are left out with a warning that counts them; an annotation
    that has no others keeps an empty list.

    Args:
        annotations: whose column "segmentation" is read.
        sizes: (height, width) of the image of each, int64 (A, 2).

    Raises:
        DataError: one is something else, does not fit its image, or is not made of finite numbers within reach of it.
    """
    segmentations: list[Any] = [row.get("segmentation") or None for row in annotations.rows]
    flat: list[int] = []  # annotations with polygons without an area
    pending = enumerate(segmentations)
    while batch := list(islice(pending, _AT_A_TIME)):
        polygons = [(i, polygon) for i, polygon in _polygons(annotations, batch)]
        _check_numbers(annotations, polygons, sizes)
        flat += [i for i, polygon in polygons if len(polygon) < FEWEST_NUMBERS]
    whole = _whole_texts(segmentations, sizes)
    for i, segmentation in enumerate(segmentations):
        if isinstance(segmentation, dict) and i not in whole:
            _check_runs(annotations, annotations.rows[i], segmentation, sizes[i].tolist())
    for i in set(flat):
        segmentations[i] = [polygon for polygon in segmentations[i] if len(polygon) >= FEWEST_NUMBERS]
    if flat:
        first = annotations.rows[flat[0]]["id"]
        log.warning(
            "warning: %s: %d polygons of fewer than three points have no area and are left out, such as in "
            "annotation %s", annotations.path, len(flat), first,
        )  # fmt: skip
    return _side_by_side(segmentations)


def _side_by_side(segmentations: Sequence[Any]) -> list[Any]:
    """The same with all polygons in one array: in the midst of the parsed file they would keep its memory in use."""
    polygons = [polygon for one in segmentations if isinstance(one, list) for polygon in one]
    numbers = np.concatenate([np.empty(0), *polygons])
    ends = np.cumsum([len(polygon) for polygon in polygons], dtype=np.int64).tolist()
    laid = iter([numbers[begin:end] for begin, end in pairwise((0, *ends))])
    return [list(islice(laid, len(one))) if isinstance(one, list) else one for one in segmentations]


def _polygons(annotations: Table, batch: Sequence[tuple[int, Any]]) -> Iterator[tuple[int, Polygon]]:
    """The polygons of annotations, each with the position of its annotation."""
    for i, segmentation in batch:
        if isinstance(segmentation, list):
            for polygon in segmentation:
                if not isinstance(polygon, array | list):
                    flat = "a list of numbers, not of polygons" if is_number(polygon) else "not made of lists"
                    raise annotations.fault(annotations.rows[i], f"whose 'segmentation' is {flat}")
                if len(polygon) % 2:
                    text = f"whose 'segmentation' has a polygon of {len(polygon)} numbers: an x without a y"
                    raise annotations.fault(annotations.rows[i], text)
                yield i, polygon
        elif segmentation is not None and not isinstance(segmentation, dict):
            text = f"whose 'segmentation' is neither polygons nor run lengths, but a {type(segmentation).__name__}"
            raise annotations.fault(annotations.rows[i], text)


def _check_numbers(annotations: Table, polygons: Sequence[tuple[int, Polygon]], sizes: npt.NDArray[np.int64]) -> None:
    """Whether all coordinates are numbers within reach of their images. Raises DataError."""
    parts = [np.asarray(polygon, dtype=np.float64) for _, polygon in polygons if isinstance(polygon, array)]
    numbers = np.concatenate([np.empty(0), *parts])
    if len(parts) < len(polygons) or not np.isfinite(numbers).all():
        i = next(i for i, polygon in polygons if not all(map(is_number, polygon)))
        raise annotations.fault(annotations.rows[i], "whose 'segmentation' has something that is no finite number")
    owners = np.repeat([i for i, _ in polygons], [len(polygon) for _, polygon in polygons]).astype(np.int64)
    reach = FARTHEST * sizes.max(axis=1, initial=1)[owners]
    far = np.flatnonzero(np.abs(numbers) > reach)
    if far.size:
        i, number = int(owners[far[0]]), numbers[far[0]]
        height, width = sizes[i]
        text = f"whose 'segmentation' has the coordinate {number:g}, far beyond its image of {width} x {height} pixels"
        raise annotations.fault(annotations.rows[i], text)


def _whole_texts(segmentations: Sequence[Any], sizes: npt.NDArray[np.int64]) -> set[int]:
    """The annotations with compressed run lengths, if all of these are of their images; none otherwise."""
    texts = {
        i: segmentation["counts"]
        for i, segmentation in enumerate(segmentations)
        if isinstance(segmentation, dict)
        and isinstance(segmentation.get("counts"), str)
        and segmentation.get("size") == sizes[i].tolist()
    }
    pixels: list[int] = sizes.prod(axis=1)[list(texts)].tolist() if texts else []
    return set(texts) if are_whole(list(texts.values()), pixels) else set()


def _check_runs(annotations: Table, row: Mapping[str, Any], encoding: Mapping[str, Any], size: list[int]) -> None:
    """Whether a run-length encoding is of its image. Raises DataError."""
    counts = encoding.get("counts")
    if encoding.get("size") != size:
        text = f"whose 'segmentation' has the size {encoding.get('size')}; its image is {size}, [height, width]"
        raise annotations.fault(row, text)
    if isinstance(counts, str):
        try:
            runs: Sequence[int] = parse_runs(counts).tolist()
        except ValueError as error:
            raise annotations.fault(row, f"whose 'segmentation' has counts that cannot be read: {error}") from None
    elif isinstance(counts, list) and all(is_id(run) for run in counts):
        runs = counts
    else:
        raise annotations.fault(row, "whose 'segmentation' is an object without 'counts', a list of integers or a text")
    if min(runs, default=0) < 0 or sum(runs) != size[0] * size[1]:
        text = f"whose 'segmentation' has counts of {sum(runs)} pixels, its image has {size[0] * size[1]}"
        raise annotations.fault(row, text if min(runs, default=0) >= 0 else "whose 'segmentation' has negative counts")
