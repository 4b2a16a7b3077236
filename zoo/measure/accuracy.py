"""Accuracy as the published tables give it: COCO's AP and AR, in points."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo.measure.coco_eval import PREFIXES
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
        detector: with masks or without; annotations that have none are compared by boxes alone, which is logged.
        ground_truth: annotations of the images it is run on.
        protocol: its box convention and rounding.
        evaluator: ours, or the reference.
    """
    from zoo.measure.coco_eval.metric import Accuracy
    from zoo.measure.coco_eval.summary import Rounding
    from zoo.models.boxes import BoxConvention

    masks, rounding = detector.has_masks, protocol.get("rounding")
    if masks and not any(ground_truth.segmentations):
        _log.warning("warning: the annotations have no masks: boxes alone are evaluated")
        masks = False
    elif masks:
        ground_truth.require_masks()
    return Accuracy(
        ground_truth,
        evaluator=evaluator,
        iou_types=("bbox", "segm") if masks else ("bbox",),
        convention=BoxConvention(inclusive=protocol["boxes"]["inclusive"]),
        rounding=None if rounding is None else Rounding(**rounding),
    )


def evaluated(subject: Subject) -> Accuracy | None:
    """The metric after every image went through the detector; None in another process than the first."""
    from zoo.data.loader import image_loader
    from zoo.run.evaluate import evaluate as detect_all

    detector, context = subject.detector, subject.context
    metric = make_metric(detector, subject.ground_truth, subject.protocol, subject.options["evaluator"])
    samples = image_loader(
        subject.dataset, subject.batches, subject.workers, rank=context.rank, world_size=context.world_size
    )
    images = len(subject.dataset)
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
    about="COCO's average precision and recall, boxes and masks",
    order=10,
    version=None,
    run=accuracy,
    metrics={
        key: Metric(key=key) for kind in PREFIXES.values() for key in (f"{kind}_AP", f"{kind}_AP50", f"{kind}_AP75")
    },
    columns=tuple(
        Column(name=f"{kind}_{name}", keys=(f"{kind}_{name}",), decimals=2)
        for kind in PREFIXES.values()
        for name in ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
    ),
    collective=True,
)
