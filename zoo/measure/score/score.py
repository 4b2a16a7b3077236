"""A file of detections to COCO's numbers, after the doctor has looked at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.coco import CocoGroundTruth
from zoo.measure.coco_eval.summary import Rounding, coco_numbers
from zoo.measure.score.doctor import Finding, examine, unmatched_names
from zoo.measure.score.results_file import read_predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How the detections of an entry are judged.

    Attributes:
        classes: names of its categories, which are matched with the annotations' by name.
        rounding: decimals that its framework rounds to before it evaluates; None for every digit.
        annotations_sha256: of the annotations that its published numbers were measured on; None where it is not on
            record.
        data: name of the data set that they were measured on; what is fetched by that name is what it should be.
    """

    classes: tuple[str, ...]
    rounding: Rounding | None = None
    annotations_sha256: str | None = None
    data: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What became of a file of detections.

    Attributes:
        detections: number of them.
        images: number of images of the annotations.
        objects: number of objects that are to be found.
        classes: number of categories that are averaged over.
        annotations_sha256: of the annotation file.
        findings: what the doctor saw, what is refused first.
        numbers: COCO's numbers in AP points; empty where a finding refuses the file.
    """

    detections: int
    images: int
    objects: int
    classes: int
    annotations_sha256: str
    findings: Sequence[Finding]
    numbers: Mapping[str, Any] = field(default_factory=dict)


def score_file(predictions: Path, annotations: Path, rules: Rules | None = None) -> Score:
    """Score a file of detections, unless the doctor refuses it.

    Args:
        predictions: in COCO's results format.
        annotations: COCO's own JSON, of any data set.
        rules: of an entry; None scores every category of the annotations, with every digit.

    Raises:
        DataError: a file is missing, damaged or in another layout.
    """
    truth = CocoGroundTruth.load(annotations)
    read = read_predictions(predictions, truth)
    mismatch = None if rules is None else unmatched_names(rules.classes, truth.category_names)
    findings = [*([mismatch] if mismatch else []), *examine(read, truth)]
    findings.sort(key=lambda finding: not finding.refused)
    judged = truth
    if rules is not None and not any(finding.refused for finding in findings):
        judged = truth.with_categories([name for name in rules.classes if name in truth.category_names])
    score = Score(
        detections=len(read.columns),
        images=len(truth),
        objects=int((~judged.is_crowd).sum()),
        classes=len(judged.category_names),
        annotations_sha256=truth.sha256,
        findings=findings,
    )
    if any(finding.refused for finding in findings):
        return score
    columns = read.columns.chosen(np.isin(read.columns.image_id, truth.image_ids))
    if rules is not None and rules.rounding is not None:
        columns = rules.rounding(columns)
    return replace(score, numbers=coco_numbers(judged, columns, read.iou_types))
