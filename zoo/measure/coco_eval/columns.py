"""Detections of a whole data set as columns: what every evaluation takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoo.coco_tasks import TASKS, IouType
from zoo.errors import ZooError
from zoo.measure.coco_eval.ranking import Floats, Ints
from zoo.types import Rle


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DetectionColumns:
    """Detections of a whole data set, one array per field.

    Attributes:
        image_id: int64 (D,), the data set's ids.
        category_id: int64 (D,), the data set's ids.
        bbox: float64 (D, 4), x, y, width, height in pixels.
        score: float64 (D,), scores, usually in [0, 1].
        segmentation: D masks, or None where there are none.
        keypoints: float64 (D, P, 3), x and y in pixels and the score of each; None where there are none.
    """

    image_id: Ints
    category_id: Ints
    bbox: Floats
    score: Floats
    segmentation: list[Rle] | None = None
    keypoints: Floats | None = None

    def __len__(self) -> int:
        return len(self.score)

    @property
    def iou_types(self) -> tuple[IouType, ...]:
        """What of them can be compared."""
        there = {"bbox": True, "segm": self.segmentation is not None, "keypoints": self.keypoints is not None}
        return tuple(kind for kind in TASKS if there[kind])

    def chosen(self, which: npt.NDArray[np.bool_]) -> DetectionColumns:
        """Some of the detections, by a mask (D,)."""
        masks = self.segmentation
        return DetectionColumns(
            image_id=self.image_id[which],
            category_id=self.category_id[which],
            bbox=self.bbox[which],
            score=self.score[which],
            segmentation=None if masks is None else [masks[i] for i in np.flatnonzero(which).tolist()],
            keypoints=None if self.keypoints is None else self.keypoints[which],
        )

    def masks(self) -> list[Rle]:
        """The D masks.

        Raises:
            ZooError: there are none.
        """
        if self.segmentation is None:
            raise ZooError(
                "the detections have no masks", next_step="evaluate boxes only, or run a model that gives masks"
            )
        return self.segmentation

    def points(self) -> Floats:
        """The keypoints, float64 (D, P, 3).

        Raises:
            ZooError: there are none.
        """
        if self.keypoints is None:
            raise ZooError(
                "the detections have no keypoints", next_step="evaluate boxes only, or run a model that gives keypoints"
            )
        return self.keypoints
