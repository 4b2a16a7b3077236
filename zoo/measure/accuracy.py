"""Accuracy as the published tables give it: COCO's AP and AR, in points."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from zoo.coco_tasks import TASKS, IouType
from zoo.measure.measurement import Column, Measurement, Metric, Subject
from zoo.types import Evaluator, Json

if TYPE_CHECKING:
    from zoo.data.coco import CocoGroundTruth
    from zoo.measure.coco_eval.metric import Accuracy
    from zoo.models.detectors.base import Detector

_log = logging.getLogger(__name__)


def make_metric(
    detector: Detector, ground_truth: CocoGroundTruth, protocol: Mapping[str, Any], evaluator: Evaluator = "vectorized"
) -> Accuracy:
    """The metric that a protocol judges a detector by.

    Args:
        detector: with masks or keypoints or without; annotations that have none are compared without them, which is
            logged.
        ground_truth: annotations of the images it is run on.
        protocol: its box convention and rounding.
        evaluator: ours, or the reference.
    """
    from zoo.measure.coco_eval.metric import Accuracy
    from zoo.measure.coco_eval.summary import Rounding
    from zoo.models.boxes import BoxConvention

    rounding = protocol.get("rounding")
    return Accuracy(
        ground_truth,
        evaluator=evaluator,
        iou_types=_compared(detector, ground_truth),
        convention=BoxConvention(inclusive=protocol["boxes"]["inclusive"]),
        rounding=None if rounding is None else Rounding(**rounding),
    )


def _compared(detector: Detector, ground_truth: CocoGroundTruth) -> tuple[IouType, ...]:
    """What a detector finds and the annotations have."""
    found = {"bbox": True, "segm": detector.has_masks, "keypoints": detector.has_keypoints}
    there = {
        "bbox": True,
        "segm": any(ground_truth.segmentations),
        "keypoints": ground_truth.keypoints is not None,
    }
    kinds = [kind for kind in TASKS if found[kind]]
    for kind in kinds:
        if not there[kind]:
            _log.warning("warning: the annotations have no %s: they are not evaluated", TASKS[kind].plural)
    compared = tuple(kind for kind in kinds if there[kind])
    if "segm" in compared:
        ground_truth.require_masks()
    if "keypoints" in compared:
        ground_truth.require_keypoints()
    return compared


def evaluated(subject: Subject) -> Accuracy | None:
    """The metric after every image went through the detector; None in another process than the first."""
    from zoo.data.loader import image_loader
    from zoo.run.evaluate import evaluate as detect_all

    detector, context = subject.detector, subject.context
    metric = make_metric(detector, subject.ground_truth, subject.protocol, subject.options["evaluator"])
    loader = image_loader(
        subject.dataset,
        subject.batches,
        subject.workers,
        device=subject.device,
        rank=context.rank,
        world_size=context.world_size,
    )
    images = len(subject.dataset)
    with closing(loader) as samples:
        detect_all(detector, samples, [metric], images=images, precision=subject.precision, context=context)
    return metric if context.is_main else None


def accuracy(subject: Subject) -> dict[str, Json]:
    """Evaluate a detector and write its predictions to the folder of the run.

    Returns:
        COCO's numbers; nothing in another process than the first.
    """
    metric = evaluated(subject)
    if metric is None:
        return {}
    metric.write_predictions(subject.run_dir / "predictions.json")
    return metric.result()


MEASUREMENT = Measurement(
    name="accuracy",
    about=f"COCO's average precision and recall: {', '.join(task.plural for task in TASKS.values())}",
    order=10,
    version=None,
    run=accuracy,
    metrics={key: Metric(key=key) for task in TASKS.values() for key in task.printed},
    columns=tuple(
        Column(name=name, keys=(name,), decimals=2)
        for task in TASKS.values()
        for name in (f"{task.prefix}_{number}" for number in task.precisions)
    ),
    collective=True,
)
