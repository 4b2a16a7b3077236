"""Accuracy as the published tables give it: COCO's AP and AR, in points."""

from __future__ import annotations

from zoo.measure.coco_eval import PREFIXES
from zoo.measure.measurement import Column, Measurement, Metric, Subject
from zoo.types import Json


def accuracy(subject: Subject) -> dict[str, Json]:
    """Evaluate a detector and write its predictions to the folder of the run.

    Returns:
        COCO's numbers; nothing in another process than the first.
    """
    from zoo.data.loader import image_loader
    from zoo.measure.coco_eval.metric import Accuracy, Rounding
    from zoo.models.boxes import BoxConvention
    from zoo.run.evaluate import evaluate as detect_all

    detector, context = subject.detector, subject.context
    rounding = subject.protocol.get("rounding")
    metric = Accuracy(
        subject.ground_truth,
        evaluator=subject.options["evaluator"],
        iou_types=("bbox", "segm") if detector.has_masks else ("bbox",),
        convention=BoxConvention(inclusive=subject.protocol["boxes"]["inclusive"]),
        rounding=None if rounding is None else Rounding(**rounding),
    )
    samples = image_loader(
        subject.dataset, subject.batches, subject.workers, rank=context.rank, world_size=context.world_size
    )
    images = len(subject.dataset)
    detect_all(detector, samples, [metric], images=images, precision=subject.precision, context=context)
    if not context.is_main:
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
