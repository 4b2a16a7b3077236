"""The detections that the doctor looks at closely: the surest of some images, beside the objects of the same image.

Legend for shapes: D detections, S sampled detections, P pairs of a sampled detection and an object of its image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoo.data.coco import CocoGroundTruth
from zoo.measure.coco_eval.columns import DetectionColumns

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_MOST_IMAGES = 400
_MOST_OF_AN_IMAGE = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """As many detections of an image as it has objects: most of a detector's surest boxes lie on one.

    Attributes:
        boxes: float64 (S, 4), as the file has them.
        category_id: int64 (S,), likewise.
        sizes: float64 (S, 2), width and height of the image of each, in pixels.
        first: int64 (S,), where the pairs of each begin; there is at least one.
        owner: int64 (P,), the detection of each pair, ascending.
        objects: float64 (P, 4), x, y, width and height of the object of each pair.
        object_category_id: int64 (P,), its category.
    """

    boxes: Floats
    category_id: Ints
    sizes: Floats
    first: Ints
    owner: Ints
    objects: Floats
    object_category_id: Ints

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def of(cls, detections: DetectionColumns, truth: CocoGroundTruth) -> Sample:
        """A sample of detections, all of whose images the annotations have."""
        image = np.searchsorted(truth.image_ids, detections.image_id)  # (D,)
        things = np.flatnonzero(~truth.is_crowd)
        wanted = np.bincount(truth.image_index[things], minlength=len(truth))  # objects of each image
        there = np.flatnonzero((wanted > 0) & (np.bincount(image, minlength=len(truth)) > 0))
        chosen = np.zeros(len(truth), dtype=np.bool_)
        chosen[there[np.linspace(0, len(there) - 1, min(len(there), _MOST_IMAGES)).astype(int)]] = True
        rows = np.flatnonzero(chosen[image])
        rows = rows[np.lexsort((-detections.score[rows], image[rows]))]  # by image, the surest first
        starts = np.searchsorted(image[rows], image[rows])
        rank = np.arange(len(rows)) - starts
        rows = rows[rank < np.minimum(wanted[image[rows]], _MOST_OF_AN_IMAGE)]
        begin = np.searchsorted(truth.image_index[things], image[rows])  # annotations are grouped by image
        count = wanted[image[rows]]
        first = np.cumsum(count) - count
        owner = np.repeat(np.arange(len(rows)), count)
        objects = things[np.arange(count.sum()) - first[owner] + begin[owner]]
        return cls(
            boxes=detections.bbox[rows],
            category_id=detections.category_id[rows],
            sizes=np.stack((truth.widths[image[rows]], truth.heights[image[rows]]), axis=1).astype(np.float64),
            first=first,
            owner=owner,
            objects=truth.boxes[objects],
            object_category_id=truth.category_ids[truth.category_index[objects]],
        )

    def overlaps(self, boxes: Floats) -> Floats:
        """The IoU of each pair, (P,), if the detections are boxes (S, 4), xywh."""
        left, top, width, height = np.maximum(boxes, [-np.inf, -np.inf, 0, 0])[self.owner].T
        other_left, other_top, other_width, other_height = self.objects.T
        wide = np.minimum(left + width, other_left + other_width) - np.maximum(left, other_left)
        high = np.minimum(top + height, other_top + other_height) - np.maximum(top, other_top)
        shared = np.maximum(wide, 0) * np.maximum(high, 0)
        union = width * height + other_width * other_height - shared
        iou: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
        return iou

    def best(self, boxes: Floats) -> Floats:
        """The largest IoU of each detection, (S,), with an object of its image, whatever their categories are."""
        return np.maximum.reduceat(self.overlaps(boxes), self.first) if len(self) else np.empty(0)

    def found(self, overlap: float) -> tuple[Ints, Ints]:
        """Categories of the detections that lie on an object, and of these objects, (S',) each."""
        iou = self.overlaps(self.boxes)
        hits = np.flatnonzero((iou >= overlap) & (iou == self.best(self.boxes)[self.owner]))
        owners, at = np.unique(self.owner[hits], return_index=True)
        return self.category_id[owners], self.object_category_id[hits[at]]


def clearly_better(share: float, than: float, count: int, *, by: float) -> bool:
    """Whether one reading of the detections explains so much more of them than another that chance is no reason.

    Args:
        share: of the detections that fit, by this reading.
        than: by the other one.
        count: detections looked at.
        by: what the shares have to differ by at least.
    """
    deviations = (share - than) * np.sqrt(max(count, 1)) / np.sqrt(max(share * (1 - share), 0.25 / max(count, 1)))
    return bool(share >= than + by and share >= 2 * than and deviations >= 4)
