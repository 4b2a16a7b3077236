"""Keypoints that are written in another way than COCO's: which of the usual readings puts them onto the persons?

Legend for shapes: D detections, S sampled detections, P pairs of a sampled detection and a person of its image, K = 17
keypoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from zoo.data.coco import CocoGroundTruth
from zoo.data.keypoints import flipped_order
from zoo.measure.coco_eval.columns import DetectionColumns
from zoo.measure.coco_eval.oks import Poses, similarities
from zoo.measure.score.placement import ResizeRule, resizes
from zoo.measure.score.sample import Floats, Ints, clearly_better

_SIMILAR = 0.5
"""OKS from which keypoints are those of a person."""

_FEWEST = 12
"""Detections from which something can be said of a reading."""

_MOST_IMAGES = 200
_MOST_OF_AN_IMAGE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class KeypointReading:
    """One way to read 17 times three numbers.

    Attributes:
        kind: "keypoints normalised", "keypoint axes", "keypoint order", "keypoint layout", "keypoint origin" or
            "keypoints resized".
        text: what the keypoints look like by it.
        fix: what their writer has to do.
        read: the sample to x and y in pixels, (S, K, 2).
    """

    kind: str
    text: str
    fix: str
    read: Callable[[KeypointSample], Floats]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeypointSample:
    """As many detections of an image as it has persons with keypoints, the surest.

    Attributes:
        keypoints: float64 (S, K, 3), as the file has them.
        boxes: float64 (S, 4), likewise.
        sizes: float64 (S, 2), width and height of the image of each, in pixels.
        first: int64 (S,), where the pairs of each begin; there is at least one.
        owner: int64 (P,), the detection of each pair, ascending.
        persons: P of them, the person of each pair.
    """

    keypoints: Floats
    boxes: Floats
    sizes: Floats
    first: Ints
    owner: Ints
    persons: Poses

    def __len__(self) -> int:
        return len(self.keypoints)

    @classmethod
    def of(cls, detections: DetectionColumns, truth: CocoGroundTruth) -> KeypointSample:
        """A sample of detections with keypoints, all of whose images the annotations have."""
        image = np.searchsorted(truth.image_ids, detections.image_id)  # (D,)
        things = np.flatnonzero(~truth.uncounted("keypoints"))
        wanted = np.bincount(truth.image_index[things], minlength=len(truth))  # persons of each image
        there = np.flatnonzero((wanted > 0) & (np.bincount(image, minlength=len(truth)) > 0))
        chosen = np.zeros(len(truth), dtype=np.bool_)
        chosen[there[np.linspace(0, len(there) - 1, min(len(there), _MOST_IMAGES)).astype(int)]] = True
        rows = np.flatnonzero(chosen[image])
        rows = rows[np.lexsort((-detections.score[rows], image[rows]))]  # by image, the surest first
        rank = np.arange(len(rows)) - np.searchsorted(image[rows], image[rows])
        rows = rows[rank < np.minimum(wanted[image[rows]], _MOST_OF_AN_IMAGE)]
        begin = np.searchsorted(truth.image_index[things], image[rows])  # annotations are grouped by image
        count = wanted[image[rows]]
        first = np.cumsum(count) - count
        owner = np.repeat(np.arange(len(rows)), count)
        persons = things[np.arange(count.sum()) - first[owner] + begin[owner]]
        return cls(
            keypoints=detections.points()[rows],
            boxes=detections.bbox[rows],
            sizes=np.stack((truth.widths[image[rows]], truth.heights[image[rows]]), axis=1).astype(np.float64),
            first=first,
            owner=owner,
            persons=Poses.of(truth.require_keypoints()[persons], truth.boxes[persons], truth.areas[persons]),
        )

    def best(self, points: Floats) -> Floats:
        """The highest OKS of each detection, (S,), with a person of its image, if its keypoints are at (S, K, 2)."""
        oks = similarities(points, self.persons, self.owner, np.arange(len(self.owner)))
        return np.maximum.reduceat(oks, self.first) if len(self) else np.empty(0)


def misplaced_keypoints(detections: DetectionColumns, truth: CocoGroundTruth, *, boxed: bool) -> KeypointReading | None:
    """The reading by which the keypoints are those of persons, where as they are written they clearly are not.

    Args:
        detections: with keypoints, in images that the annotations have.
        truth: the annotations.
        boxed: whether the detections have boxes of their own, which are where the persons are.
    """
    sample = KeypointSample.of(detections, truth)
    if len(sample) < _FEWEST:
        return None
    before = float((sample.best(sample.keypoints[:, :, :2]) >= _SIMILAR).mean())
    best, most = None, before
    for reading in _readings(boxed=boxed):
        share = float((sample.best(reading.read(sample)) >= _SIMILAR).mean())
        if share > most and clearly_better(share, before, len(sample), by=0.1):
            best, most = reading, share
    return best


def _xy(sample: KeypointSample) -> Floats:
    return sample.keypoints[:, :, :2]


def _all_x_first(sample: KeypointSample) -> Floats:
    flat = sample.keypoints.reshape(len(sample), 3, -1)  # (S, 3, K)
    return flat[:, :2].transpose(0, 2, 1)


_FORMS = (
    KeypointReading(
        kind="keypoint axes",
        text="x and y of the keypoints are exchanged, (y, x, score)",
        fix="write the keypoints as x, y, score, x, y, score, ...",
        read=lambda sample: _xy(sample)[:, :, ::-1],
    ),
    KeypointReading(
        kind="keypoint order",
        text="left and right keypoints are exchanged",
        fix="write the keypoints in COCO's order, left before right, as the person has them: a flip exchanges them",
        read=lambda sample: _xy(sample)[:, flipped_order(sample.keypoints.shape[1])],
    ),
    KeypointReading(
        kind="keypoint layout",
        text="the keypoints are written with every x before every y",
        fix="write the keypoints as x, y, score, x, y, score, ...",
        read=_all_x_first,
    ),
    KeypointReading(
        kind="keypoints normalised",
        text="the keypoints are shares of the image's sides",
        fix="multiply x by the image's width and y by its height",
        read=lambda sample: _xy(sample) * sample.sizes[:, None],
    ),
)

_IN_BOX = (
    KeypointReading(
        kind="keypoint origin",
        text="the keypoints are counted from the corner of their box",
        fix="add x and y of the box to the keypoints",
        read=lambda sample: _xy(sample) + sample.boxes[:, None, :2],
    ),
    KeypointReading(
        kind="keypoints normalised",
        text="the keypoints are shares of the sides of their box",
        fix="multiply by width and height of the box, and add its x and y",
        read=lambda sample: _xy(sample) * sample.boxes[:, None, 2:] + sample.boxes[:, None, :2],
    ),
)


def _readings(*, boxed: bool) -> Iterator[KeypointReading]:
    yield from _FORMS
    if boxed:
        yield from _IN_BOX
    for text, rule in resizes():
        yield KeypointReading(
            kind="keypoints resized",
            text=f"the keypoints are in pixels of the image as the detector got it ({text}), not of the image",
            fix="take the padding off and divide by the factors that the image was resized by",
            read=partial(_unresized, rule=rule),
        )


def _unresized(sample: KeypointSample, rule: ResizeRule) -> Floats:
    factor, padding = rule(sample.sizes)
    points: Floats = (_xy(sample) - padding[:, None]) / factor[:, None]
    return points
