"""Outlines of objects as Ultralytics' label files of COCO hold them: one an object, whose extent is its box.

The published label files hold outlines, not COCO's boxes: of an object in several parts one that runs
through all of them, relative to the image's size, with six digits.
Legend: G objects of one image, L vertices of an outline, P points of a resampled one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from zoo.data.augment.labels import Floats, Ints, Objects
from zoo.data.augment.masks import Bitmaps
from zoo.data.coco import CocoGroundTruth
from zoo.types import Size

POINTS = 1000
"""P: so many that an outline stays where it is when its points are cut to whole pixels, or to a window."""


def read_outlines(ground_truth: CocoGroundTruth, image: int, annotations: Ints) -> Objects:
    """The objects of an image with boxes and outlines as shares of its size; of equal objects only the first.

    Args:
        ground_truth: the data set.
        image: position of the image.
        annotations: positions of its annotations, ascending.
    """
    height, width = ground_truth.size_of(image)
    labels, boxes, outlines = [], [], []
    seen: set[tuple[int, bytes]] = set()
    for annotation in annotations.tolist():
        x, y, w, h = ground_truth.boxes[annotation]
        outline = _six_digits(_outline(ground_truth.segmentations[annotation], (x, y, x + w, y + h)) / (width, height))
        box = np.concatenate((outline.min(axis=0), outline.max(axis=0)))
        label = int(ground_truth.category_index[annotation])
        if (label, box.tobytes()) not in seen:
            seen.add((label, box.tobytes()))
            labels.append(label)
            boxes.append(box)
            outlines.append(resample(outline))
    return Objects(
        labels=np.array(labels, dtype=np.int64),
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        outlines=np.array(outlines, dtype=np.float32).reshape(-1, POINTS, 2),
    )


def merge_parts(parts: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """One outline (L, 2) through all parts of an object, (L_i, 2) each.

    Each two neighbours are linked where they come closest. The outline runs to the last part by one side
    of the parts in between, and back by the other. Where the two links of such a part descend it is
    reversed, but its links keep their numbers: a fault of the published files, which is kept.
    """
    links: list[list[int]] = [[] for _ in parts]
    for i in range(1, len(parts)):
        here, there = _closest(parts[i - 1], parts[i])
        links[i - 1].append(here)
        links[i].append(there)
    out, back = [], []
    for part, numbers in zip(parts, links, strict=True):
        between = len(numbers) == 2
        if between and numbers[0] > numbers[1]:
            part, numbers = part[::-1], numbers[::-1]
        closed = np.roll(part, -numbers[0], axis=0)
        closed = np.concatenate((closed, closed[:1]))
        if between:
            turn = numbers[1] - numbers[0]
            out.append(closed[: turn + 1])
            back.append(closed[turn:])
        else:
            out.append(closed)
    return np.concatenate((*out, *back[::-1]))


def resample(outline: Floats) -> Floats:
    """An outline (L, 2) as P points along it, closed: its own vertices, and others evenly spaced by their number."""
    closed = np.concatenate((outline, outline[:1]))
    last = len(closed) - 1
    if len(closed) < POINTS:
        places = np.linspace(0, last, POINTS - len(closed))
        vertices = np.arange(last + 1)
        places = np.insert(places, np.searchsorted(places, vertices), vertices)
    else:
        places = np.linspace(0, last, POINTS)
    points = [np.interp(places, np.arange(last + 1), closed[:, axis]) for axis in (0, 1)]
    return np.stack(points, axis=1).astype(np.float32)


def fill_outlines(outlines: Floats, size: Size) -> Bitmaps:
    """Bitmaps (G, H, W) of outlines (G, P, 2) in pixels, whose points are cut to whole ones.

    Args:
        outlines: of objects, possibly beyond the image.
        size: of the image.
    """
    bitmaps = np.zeros((len(outlines), *size), dtype=np.uint8)
    for bitmap, outline in zip(bitmaps, outlines.astype(np.int32), strict=True):
        cv2.fillPoly(bitmap, [outline], 1)
    return bitmaps


def _outline(segmentation: Any, box: tuple[float, float, float, float]) -> npt.NDArray[np.float64]:
    """The outline (L, 2) in pixels of COCO's polygons; the box's own of what has none."""
    if isinstance(segmentation, list) and segmentation:
        parts = [np.array(part, dtype=np.float64).reshape(-1, 2) for part in segmentation]
        return parts[0] if len(parts) == 1 else merge_parts(parts)
    x1, y1, x2, y2 = box
    return np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])


def _six_digits(values: npt.NDArray[np.float64]) -> Floats:
    """Values as they come back from a text file with "%g"."""
    return np.array([float(f"{value:g}") for value in values.ravel().tolist()], dtype=np.float32).reshape(values.shape)


def _closest(part: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> tuple[int, int]:
    """The vertices at which two parts are closest; the first of equals."""
    distances = np.square(part[:, None] - other[None]).sum(axis=2)
    here, there = np.unravel_index(distances.argmin(), distances.shape)
    return int(here), int(there)
