"""Object keypoint similarity (OKS): how near detected keypoints are to those of an object.

Source: https://cocodataset.org/#keypoints-eval and `COCOeval.computeOks` of pycocotools 2.0.11, whose arithmetic is
kept in its order, so that equal bits come out. A distance counts against the sigma of the keypoint and the area of the
object; the similarity is the mean over the labelled keypoints. To an object without any the distance is that to its
box, doubled about its place, of all keypoints: detections on it count for nothing.

Legend for shapes: D detections, N pairs, P = 17 keypoints.
"""

from __future__ import annotations

import numpy as np

from zoo.data.keypoints import SIGMAS
from zoo.errors import ZooError
from zoo.measure.coco_eval.ranking import Floats

_VARIANCES = (SIGMAS * 2) ** 2  # (P,)

_CHUNK = 1 << 13
"""Pairs computed at a time: their columns stay in the processor's cache."""


def similarities(detected: Floats, keypoints: Floats, boxes: Floats, areas: Floats) -> Floats:
    """OKS of pairs, float64 (N,), in [0, 1].

    Args:
        detected: (N, P, 2), x and y of the detection of each pair.
        keypoints: (N, P, 3), x, y and visibility of its object.
        boxes: (N, 4), x, y, width, height of its object.
        areas: (N,), of its object, in square pixels.

    Raises:
        ZooError: detections have another number of keypoints than COCO's 17.
    """
    if detected.shape[1] != len(SIGMAS):
        message = f"the detections have {detected.shape[1]} keypoints, and COCO's evaluation is of {len(SIGMAS)}"
        raise ZooError(message, next_step="evaluate boxes only, or a model of COCO's keypoints")
    labelled = keypoints[:, :, 2] > 0  # (N, P)
    counts = labelled.sum(axis=1)
    found = np.empty(len(detected))
    with np.errstate(over="ignore"):  # as far as that is not similar at all
        for count in np.unique(counts).tolist():
            pairs = np.flatnonzero(counts == count)
            for rows in np.split(pairs, range(_CHUNK, len(pairs), _CHUNK)):
                if count:
                    apart = keypoints[rows, :, :2]
                    np.subtract(detected[rows], apart, out=apart)
                else:
                    apart = _beyond(detected[rows], boxes[rows])
                squares = apart[:, :, 0] ** 2 + apart[:, :, 1] ** 2  # (n, P)
                errors = squares / _VARIANCES / (areas[rows, None] + np.spacing(1)) / 2
                if count:
                    errors = errors[labelled[rows]].reshape(len(rows), count)
                # Contiguous rows of one length: numpy adds them in the order in which it adds a single one.
                found[rows] = np.exp(-errors).sum(axis=1) / errors.shape[1]
    return found


def _beyond(points: Floats, boxes: Floats) -> Floats:
    """How far points (n, P, 2) lie outside of boxes (n, 4) that reach a side further on every side, (n, P, 2)."""
    corner, sides = boxes[:, None, :2], boxes[:, None, 2:]
    zero = np.zeros_like(points)
    return np.maximum(zero, (corner - sides) - points) + np.maximum(zero, points - (corner + sides * 2))


def extents(keypoints: Floats) -> Floats:
    """The area of the smallest box about the keypoints (D, P, 3) of each detection, (D,), in square pixels."""
    if not len(keypoints):
        return np.empty(0)
    points = keypoints[:, :, :2]
    sides = points.max(axis=1) - points.min(axis=1)  # (D, 2)
    area: Floats = sides[:, 0] * sides[:, 1]
    return area
