"""What COCO compares when it scores detections: boxes, masks and keypoints, in one list.

Records, tables, catalogue, evaluation and reports take their names from here, so that a kind of detection is added in
one place. Source: `Params` and `summarize` of pycocotools 2.0.11 (https://cocodataset.org/#detection-eval,
https://cocodataset.org/#keypoints-eval).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

IouType: TypeAlias = Literal["bbox", "segm", "keypoints"]
"""What is compared, by COCO's own words."""

_PRINTED = ("AP", "AP50", "AP75")
"""The numbers of a summary that tables of model zoos print."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoTask:
    """One kind of detections and how COCO summarises them.

    Attributes:
        iou_type: COCO's word for it.
        prefix: what its numbers begin with in a record, as in "box_AP".
        plural: what is compared, in messages.
        whole: what they are called in full.
        sizes: area ranges that it is summarised in, besides all sizes.
        max_detections: limits of detections per image and category, ascending.
        recalls: its numbers of average recall, without the prefix.
    """

    iou_type: IouType
    prefix: str
    plural: str
    whole: str
    sizes: tuple[str, ...]
    max_detections: tuple[int, ...]
    recalls: tuple[str, ...]

    @property
    def ap(self) -> str:
        """The name of its average precision, the number that it is judged by."""
        return f"{self.prefix}_AP"

    @property
    def precisions(self) -> tuple[str, ...]:
        """Its numbers of average precision, without the prefix, in COCO's order."""
        return (*_PRINTED, *(f"AP_{size}" for size in self.sizes))

    @property
    def stats(self) -> tuple[str, ...]:
        """The numbers of its summary, without the prefix, in COCO's order."""
        return self.precisions + self.recalls

    @property
    def printed(self) -> tuple[str, ...]:
        """Its numbers that tables print, as in "box_AP50"."""
        return tuple(f"{self.prefix}_{name}" for name in _PRINTED)

    @property
    def max_per_image(self) -> int:
        """The highest number of detections per image and category that count."""
        return self.max_detections[-1]


_SIZES = ("small", "medium", "large")
_LIMITS = (1, 10, 100)
_AREA_RECALLS = (*(f"AR_{limit}" for limit in _LIMITS), *(f"AR_{size}" for size in _SIZES))

TASKS: Mapping[IouType, CocoTask] = {
    task.iou_type: task
    for task in (
        CocoTask(
            iou_type="bbox",
            prefix="box",
            plural="boxes",
            whole="bounding boxes",
            sizes=_SIZES,
            max_detections=_LIMITS,
            recalls=_AREA_RECALLS,
        ),
        CocoTask(
            iou_type="segm",
            prefix="mask",
            plural="masks",
            whole="instance masks",
            sizes=_SIZES,
            max_detections=_LIMITS,
            recalls=_AREA_RECALLS,
        ),
        CocoTask(
            iou_type="keypoints",
            prefix="keypoint",
            plural="keypoints",
            whole="keypoints of persons",
            sizes=_SIZES[1:],  # COCO has no keypoints on small persons
            max_detections=(20,),
            recalls=("AR", "AR50", "AR75", *(f"AR_{size}" for size in _SIZES[1:])),
        ),
    )
}
"""Every kind, in the order of tables."""


def iou_types_of(names: Collection[str]) -> tuple[IouType, ...]:
    """The kinds whose AP is among the names of some numbers, such as those of a record."""
    return tuple(kind for kind, task in TASKS.items() if task.ap in names)
