"""A detector in memory on a folder of data: `zoo.evaluate`."""

from __future__ import annotations

import copy
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.config.build import plan_batches, prepare
from zoo.data.folder import find_split, no_annotations
from zoo.data.loader import ImageDataset, default_workers, image_loader
from zoo.data.splits import open_split
from zoo.errors import UsageError
from zoo.measure.accuracy import make_metric
from zoo.run.evaluate import evaluate
from zoo.runtime.hardware import use_true_float32

if TYPE_CHECKING:
    from zoo.models.detectors.base import Detector


def evaluate_on_folder(
    detector: Detector,
    root: Path,
    *,
    split: str = "val",
    annotations: str | None = None,
    images: str | None = None,
    limit: int | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """COCO's numbers of a detector on a folder of data, as its protocol says; the detector itself is left alone.

    Arguments as of `zoo.evaluate`.

    Raises:
        UsageError: the detector was put together without a protocol, or the folder does not say what is meant.
        DataError: the data is damaged, or has no class that the model knows.
    """
    if not detector.protocol:
        message = f"this {type(detector).__name__} has no protocol to be evaluated by"
        raise UsageError(message, next_step="make the model with zoo.load or zoo.build")
    found = find_split(root, split, annotations=annotations, images=images, key="")
    if found is None:
        raise no_annotations(root, split, "")
    opened = open_split(
        root.resolve().name,
        split,
        root=root,
        annotations=found.annotations,
        images=found.images,
        num_images=found.num_images,
        limit=limit,
        classes=detector.classes,
        categories=(),
        known={},
        sizes={},
    )
    use_true_float32()
    working = prepare(copy.deepcopy(detector).eval(), detector.protocol)
    truth = opened.ground_truth
    dataset = ImageDataset(opened.files, truth.image_ids.tolist(), truth.sizes, working.transform)
    batches = plan_batches({"protocol": detector.protocol}, working.transform, opened, 1)
    metric = make_metric(working, truth, detector.protocol)
    device = working.device
    decoding = default_workers(device.type) if workers is None else workers
    with closing(image_loader(dataset, batches, decoding, device=device)) as samples:
        evaluate(working, samples, [metric], images=len(dataset), precision="fp32")
    return metric.result()
