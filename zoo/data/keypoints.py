"""COCO's 17 keypoints of a person: their names, what a flip exchanges, which are joined, how far off each may be.

Source: the category "person" of COCO's person_keypoints_*.json, https://cocodataset.org/#keypoints-eval, and `Params`
of pycocotools 2.0.11. Legend for shapes: A annotations, K keypoints.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from zoo.data.coco_json import LARGEST_IMAGE, Table, as_numbers, is_id, is_numbers

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_PARTS = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")

KEYPOINT_NAMES: tuple[str, ...] = ("nose", *(f"{side}_{part}" for part in _PARTS for side in ("left", "right")))
"""(K,), in COCO's order."""

SIGMAS: Floats = np.array([0.26, *np.repeat([0.25, 0.35, 0.79, 0.72, 0.62, 1.07, 0.87, 0.89], 2)]) / 10.0
"""(K,), the standard deviation of annotators at each keypoint, as a share of the root of the object's area."""

FLIP_PAIRS: tuple[tuple[int, int], ...] = tuple(
    (left, KEYPOINT_NAMES.index(name.replace("left", "right")))
    for left, name in enumerate(KEYPOINT_NAMES)
    if name.startswith("left")
)
"""Positions of the left and the right one of each pair, which a horizontal flip exchanges."""

SKELETON: tuple[tuple[int, int], ...] = (
    *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10)),
    *((1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
)
"""Positions of the two ends of each limb, for drawings."""


def flipped_order(keypoints: int) -> list[int]:
    """The position that each keypoint is taken from once left and right are exchanged.

    Raises:
        ValueError: these are not COCO's keypoints.
    """
    if keypoints != len(KEYPOINT_NAMES):
        raise ValueError(f"left and right of {keypoints} keypoints are not known, only of COCO's {len(KEYPOINT_NAMES)}")
    order = list(range(keypoints))
    for left, right in FLIP_PAIRS:
        order[left], order[right] = right, left
    return order


def read_keypoints(annotations: Table) -> tuple[Floats, Ints] | tuple[None, None]:
    """The keypoints of every annotation, and how many of each are labelled, as the file counts them.

    An annotation without keypoints, such as one of another category, has K of zeros, none of them labelled. Where
    annotations differ in their number of keypoints there is no array of them: they are left out, with a warning.

    Args:
        annotations: whose columns "keypoints" and "num_keypoints" are read; the latter is counted where it is absent.

    Returns:
        float64 (A, K, 3), x and y in pixels and visibility (0 not labelled, 1 hidden, 2 visible), and int64 (A,);
        twice None where no annotation has keypoints.

    Raises:
        DataError: what stands there are no such numbers.
    """
    rows = annotations.rows
    given: list[Any] = [row.get("keypoints") or None for row in rows]
    present = [i for i, keypoints in enumerate(given) if keypoints is not None]
    if not present:
        return None, None
    for i in present:
        if not isinstance(given[i], list) or len(given[i]) % 3:
            raise annotations.fault(rows[i], "whose 'keypoints' is not a list of x, y, visibility, x, y, ...")
    widths = {len(given[i]) for i in present}
    if len(widths) > 1:
        text = "warning: %s: annotations have %s keypoints: as they differ in number, none are read"
        log.warning(text, annotations.path, " or ".join(str(width // 3) for width in sorted(widths)))
        return None, None
    width = widths.pop()
    numbers = as_numbers([given[i] for i in present])
    if numbers is None or numbers.ndim != 2 or np.abs(numbers).max() > LARGEST_IMAGE:
        i = next(i for i in present if not is_numbers(given[i], width) or max(map(abs, given[i])) > LARGEST_IMAGE)
        raise annotations.fault(rows[i], "whose 'keypoints' has something that is no number within an image's reach")
    keypoints = np.zeros((len(rows), width // 3, 3))
    keypoints[present] = numbers.reshape(len(present), -1, 3)
    return keypoints, _labelled(annotations, keypoints)


def _labelled(annotations: Table, keypoints: Floats) -> Ints:
    """How many keypoints of each annotation are labelled, (A,), as the file says, or else as many as are visible."""
    counted = (keypoints[:, :, 2] > 0).sum(axis=1).tolist()
    values: list[Any] = [row.get("num_keypoints", n) for row, n in zip(annotations.rows, counted, strict=True)]
    for row, value in zip(annotations.rows, values, strict=True):
        if not is_id(value) or value < 0:
            raise annotations.fault(row, f"whose 'num_keypoints' is no number of keypoints: {value!r}")
    return np.array(values, dtype=np.int64)


def keypoint_names(categories: Table) -> tuple[str, ...]:
    """The names of the keypoints, as the first category that names any has them; empty where none does."""
    for row in categories.rows:
        names = row.get("keypoints")
        if isinstance(names, list) and names:
            return tuple(map(str, names))
    return ()


def unlike_coco(keypoints: int, names: Sequence[str]) -> str | None:
    """What tells some keypoints from COCO's 17 of a person; None where they are these.

    Args:
        keypoints: how many there are.
        names: what the annotations call them; empty where they do not say.
    """
    if keypoints != len(KEYPOINT_NAMES):
        return f"{keypoints} keypoints"
    spelled = ["_".join(name.lower().replace("-", " ").replace("_", " ").split()) for name in names]
    if spelled and tuple(spelled) != KEYPOINT_NAMES:
        return next(
            (
                f"{name!r} in the place of {own!r}"
                for name, own in zip(spelled, KEYPOINT_NAMES, strict=False)
                if name != own
            ),
            f"{len(spelled)} names of keypoints",
        )
    return None
