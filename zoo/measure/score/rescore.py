"""Stored detections scored once more, with one rule of the evaluation changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zoo.coco_tasks import IouType
from zoo.data.coco import CocoGroundTruth
from zoo.errors import DataError
from zoo.measure.coco_eval.columns import DetectionColumns
from zoo.measure.coco_eval.ranking import Ints
from zoo.measure.coco_eval.summary import Rounding, coco_numbers

Crowds = Literal["ignored", "dropped", "objects"]
"""What becomes of the objects that are marked as crowds: detections on them count for nothing (COCO's rule), they are
left out so that detections on them are false, or they are objects as all others are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescoring:
    """Rules of an evaluation that stored detections are enough for; by default those of COCO.

    Attributes:
        crowds: what becomes of objects that are marked as crowds.
        score_threshold: detections that score less are left out; null: none.
        max_detections: detections kept of each image, best scores first; null: all.
        box_decimals: decimals of x, y, width and height, in pixels; null: all.
        score_decimals: decimals of scores; null: all.
        category_shift: what is added to category ids.
        inclusive: whether widths and heights are one pixel more, as where corners are pixels.
        annotations: another annotation file of the same images, relative to the root of the data; null: the same.
    """

    crowds: Crowds = "ignored"
    score_threshold: float | None = None
    max_detections: int | None = None
    box_decimals: int | None = None
    score_decimals: int | None = None
    category_shift: int = 0
    inclusive: bool = False
    annotations: str | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StoredRun:
    """What a run left that can be scored again.

    Attributes:
        truth: annotations, their categories in label order.
        detections: every digit of them, in the order of the run.
        iou_types: what is compared.
        rounding: decimals that the row's protocol rounds to before it evaluates; None for every digit.
        root: root folder of the data, where other annotations may lie.
    """

    truth: CocoGroundTruth
    detections: DetectionColumns
    iou_types: Sequence[IouType]
    rounding: Rounding | None
    root: Path

    def own_rules(self) -> Rescoring:
        """The rules that the run itself was scored by."""
        rounding = self.rounding or Rounding()
        return Rescoring(box_decimals=rounding.box, score_decimals=rounding.score)

    def score(self, rules: Rescoring) -> dict[str, Any]:
        """COCO's numbers by some rules, in points, as `coco_numbers` gives them.

        Raises:
            DataError: the other annotations are missing, damaged or of other images.
        """
        return coco_numbers(self._truth(rules), _detections(self.detections, rules), self.iou_types)

    def _truth(self, rules: Rescoring) -> CocoGroundTruth:
        truth = self.truth
        if rules.annotations is not None:
            path = self.root / rules.annotations
            truth = CocoGroundTruth.load(path).with_categories(truth.category_names)
            if not np.array_equal(truth.image_ids, self.truth.image_ids):
                step = "name annotations of the same images"
                raise DataError(f"{path} is of other images than the run was", next_step=step)
        if rules.crowds == "dropped":
            return truth.without(truth.is_crowd)
        if rules.crowds == "objects":
            return replace(truth, is_crowd=np.zeros_like(truth.is_crowd))
        return truth


def _detections(columns: DetectionColumns, rules: Rescoring) -> DetectionColumns:
    """The detections that are scored."""
    columns = Rounding(box=rules.box_decimals, score=rules.score_decimals)(columns)
    if rules.score_threshold is not None:
        columns = columns.chosen(columns.score >= rules.score_threshold)
    if rules.max_detections is not None:
        columns = columns.chosen(_rank_in_image(columns) < rules.max_detections)
    if rules.inclusive:
        columns = replace(columns, bbox=columns.bbox + np.array([0.0, 0.0, 1.0, 1.0]))
    return replace(columns, category_id=columns.category_id + rules.category_shift)


def _rank_in_image(columns: DetectionColumns) -> Ints:
    """How many detections of the same image score more, or the same and stand before it, int64 (D,)."""
    order = np.lexsort((np.arange(len(columns)), -columns.score, columns.image_id))
    images = columns.image_id[order]
    first = np.searchsorted(images, images)
    rank = np.empty(len(columns), dtype=np.int64)
    rank[order] = np.arange(len(columns)) - first
    return rank
