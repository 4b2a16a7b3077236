"""What is compared, by its kind: the sizes of detections, and their overlaps with objects.

Legend for shapes: D detections, E of them, G objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoo.coco_tasks import IouType
from zoo.data.coco import CocoGroundTruth
from zoo.data.rle import areas
from zoo.measure.coco_eval.area_iou_bits import IOU_THRESHOLDS
from zoo.measure.coco_eval.columns import DetectionColumns
from zoo.measure.coco_eval.mask_overlap import mask_pairs
from zoo.measure.coco_eval.oks import Poses, extents
from zoo.measure.coco_eval.overlap import Pairs, box_pairs, keypoint_pairs
from zoo.measure.coco_eval.ranking import Floats, Ints, Places


def detection_areas(
    detections: DetectionColumns, iou_type: IouType, which: Ints | Places, known: Floats | None
) -> Floats:
    """Square pixels of each detection, (D,): of its box, its mask, or the smallest box about its keypoints.

    Args:
        detections: all of them.
        iou_type: what is compared.
        which: (E,), those whose areas are known already.
        known: (E,), these areas; None for none.
    """
    if known is not None:
        found = np.empty(len(detections))
        found[which] = known
        rest = np.ones(len(detections), dtype=np.bool_)
        rest[which] = False
        found[rest] = detection_areas(detections.chosen(rest), iou_type, which, None)
        return found
    if iou_type == "bbox":
        return detections.bbox[:, 2] * detections.bbox[:, 3]
    return areas(detections.masks()) if iou_type == "segm" else extents(detections.points())


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Detections and the objects that each may be on.

    Attributes:
        detections: (E,), their positions among all, those of one group side by side.
        objects: (G,), positions in the ground truth, those of one group side by side.
        is_crowd: bool (G,), whether an overlap is over the detection's own area.
        first: (E,), the first object in the detection's group.
        count: (E,), how many objects that group has, at least 1.
    """

    detections: Ints | Places
    objects: Ints
    is_crowd: npt.NDArray[np.bool_]
    first: Ints
    count: Ints

    def pairs(
        self,
        ground_truth: CocoGroundTruth,
        detections: DetectionColumns,
        iou_type: IouType,
        min_iou: float = float(IOU_THRESHOLDS[0]),
    ) -> Pairs:
        """Those that overlap enough: positions in (E,) and in (G,).

        Args:
            ground_truth: of the objects.
            detections: of all.
            iou_type: what is compared.
            min_iou: overlap from which a pair is kept, above 0.

        Raises:
            DataError, ZooError: what is compared is not there.
        """
        found, objects = self.detections, self.objects
        groups = (self.first, self.count, min_iou)
        if iou_type == "bbox":
            return box_pairs(detections.bbox, found, ground_truth.boxes[objects], self.is_crowd, *groups)
        if iou_type == "segm":
            given = detections.masks()
            masks, targets = [given[i] for i in found.tolist()], ground_truth.rles(objects.tolist())
            return mask_pairs(masks, targets, self.is_crowd, *groups)
        known = ground_truth.require_keypoints()[objects]
        poses = Poses.of(known, ground_truth.boxes[objects], ground_truth.areas[objects])
        return keypoint_pairs(detections.points()[found], poses, *groups)
