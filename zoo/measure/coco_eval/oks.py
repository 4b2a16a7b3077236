"""Object keypoint similarity (OKS): how near detected keypoints are to those of an object.

Source: https://cocodataset.org/#keypoints-eval and `COCOeval.computeOks` of pycocotools 2.0.11, whose arithmetic is
kept in its order, so that equal bits come out. A distance counts against the sigma of the keypoint and the area of the
object; the similarity is the mean over the labelled keypoints. To an object without any the distance is that to its
box, doubled about its place, of all keypoints: detections on it count for nothing.

Legend for shapes: E detections, G objects, N pairs, K = 17 keypoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from zoo.data.keypoints import SIGMAS
from zoo.errors import ZooError
from zoo.measure.coco_eval.ranking import Floats, Ints

_VARIANCES = (SIGMAS * 2) ** 2  # (K,)

_CHUNK = 1 << 12
"""Pairs computed at a time: their columns stay in the processor's cache."""

_SLACK = 1 + 1e-9
"""By how much more than the farthest a pair may be apart that is computed: more than all rounding."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Poses:
    """Objects that keypoints are compared with.

    Attributes:
        keypoints: float64 (G, K, 3), x, y and visibility.
        boxes: float64 (G, 4), x, y, width, height.
        areas: float64 (G,), in square pixels.
        counts: int64 (G,), how many keypoints are labelled.
    """

    keypoints: Floats
    boxes: Floats
    areas: Floats
    counts: Ints

    @classmethod
    def of(cls, keypoints: Floats, boxes: Floats, areas: Floats) -> Self:
        """Objects by their keypoints (G, K, 3), boxes (G, 4) and areas (G,)."""
        return cls(keypoints=keypoints, boxes=boxes, areas=areas, counts=(keypoints[:, :, 2] > 0).sum(axis=1))

    def region(self) -> Floats:
        """Left, top, right, bottom (4, G) of the labelled keypoints, or of the doubled box where there are none."""
        unlabelled = self.keypoints[:, :, 2].T <= 0  # (K, G)
        x, y = (np.array(self.keypoints[:, :, axis].T, order="C") for axis in (0, 1))
        low = [np.where(unlabelled, np.inf, values).min(axis=0) for values in (x, y)]
        high = [np.where(unlabelled, -np.inf, values).max(axis=0) for values in (x, y)]
        corner, sides = self.boxes[:, :2].T, self.boxes[:, 2:].T
        doubled = np.concatenate((corner - sides, corner + sides * 2))
        return np.where(self.counts == 0, doubled, np.stack((*low, *high)))


def similarities(detected: Floats, poses: Poses, detection: Ints, target: Ints) -> Floats:
    """OKS of pairs, float64 (N,), in [0, 1].

    Args:
        detected: (E, K, 3), x, y and anything.
        poses: of G objects.
        detection: (N,), positions of the pairs in [0, E).
        target: (N,), positions in [0, G).

    Raises:
        ZooError: detections have another number of keypoints than COCO's 17.
    """
    if detected.shape[1] != len(SIGMAS):
        message = f"the detections have {detected.shape[1]} keypoints, and COCO's evaluation is of {len(SIGMAS)}"
        raise ZooError(message, next_step="evaluate boxes only, or a model of COCO's keypoints")
    counts = poses.counts[target]
    found = np.empty(len(target))
    with np.errstate(over="ignore"):  # as far as that is not similar at all
        for count in np.unique(counts).tolist():
            pairs = np.flatnonzero(counts == count)
            for rows in np.split(pairs, range(_CHUNK, len(pairs), _CHUNK)):
                found[rows] = _of_one_count(detected[detection[rows]], poses, target[rows], count)
    return found


def _of_one_count(detected: Floats, poses: Poses, target: Ints, count: int) -> Floats:
    """OKS of detections (n, K, 3) with objects (n,) that all have so many labelled keypoints."""
    objects = poses.keypoints[target]
    x, y = detected[:, :, 0], detected[:, :, 1]
    if count:
        dx, dy = x - objects[:, :, 0], y - objects[:, :, 1]
    else:
        left, top, width, height = poses.boxes[target].T[:, :, None]
        dx, dy = _beyond(x, left, width), _beyond(y, top, height)
    errors = (dx**2 + dy**2) / _VARIANCES / (poses.areas[target, None] + np.spacing(1)) / 2
    if count:
        errors = errors[objects[:, :, 2] > 0].reshape(len(target), count)
    # Contiguous rows of one length: numpy adds them in the order in which it adds a single one.
    oks: Floats = np.exp(-errors).sum(axis=1) / errors.shape[1]
    return oks


def _beyond(places: Floats, start: Floats, side: Floats) -> Floats:
    """How far places (n, K) lie outside of a range (n, 1) that reaches a side further at both ends."""
    return np.maximum(0, (start - side) - places) + np.maximum(0, places - (start + side * 2))


def may_be_similar(detected: Floats, poses: Poses, detection: Ints, target: Ints, least: float) -> Ints:
    """Those of some pairs whose OKS may reach `least`, by the gap between what detection and object cover.

    No keypoint is nearer than that gap, and none counts more than the one of the largest variance. Arguments as those
    of `similarities`.
    """
    left, top, right, bottom = (side.take(target) for side in poses.region())
    x0, y0, x1, y1 = (side.take(detection) for side in _extremes(detected))
    gap_x, gap_y = (np.maximum(0, np.maximum(a, b)) for a, b in ((left - x1, x0 - right), (top - y1, y0 - bottom)))
    farthest = 2 * _VARIANCES.max() * -np.log(least) * (poses.areas + np.spacing(1)) * _SLACK
    with np.errstate(over="ignore"):
        return np.flatnonzero(gap_x**2 + gap_y**2 <= farthest.take(target))


def extents(keypoints: Floats) -> Floats:
    """The area of the smallest box about the keypoints (D, K, 3) of each detection, (D,), in square pixels."""
    left, top, right, bottom = _extremes(keypoints)
    area: Floats = (right - left) * (bottom - top)
    return area


def _extremes(keypoints: Floats) -> Floats:
    """Left, top, right and bottom of keypoints (D, K, 3), (4, D)."""
    if not len(keypoints):
        return np.empty((4, 0))
    x, y = (np.array(keypoints[:, :, axis].T, order="C") for axis in (0, 1))  # along columns many times as fast
    return np.stack((x.min(axis=0), y.min(axis=0), x.max(axis=0), y.max(axis=0)))
