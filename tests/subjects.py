"""What a measurement is handed, of a detector that is small and images that are few."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.config.build import build_model, open_data, plan_batches
from zoo.config.compose import compose
from zoo.config.run_settings import RunSettings
from zoo.data.loader import ImageDataset
from zoo.measure.measurement import Subject
from zoo.runtime.distributed import DistributedContext

SMALL = [
    *("initial=null", "backbone=resnet10_small", "neck=fpn64", "head=faster_rcnn_small"),
    *("protocol.transform.size_rule={long:64,short:48}", "schedule.multi_scale.scales=[[64,48]]"),
]
"""A Faster R-CNN that runs in no time; the other entries have sizes of their own."""


def make_subject(entry: str, coco: Path, run_dir: Path, overrides: Sequence[str] = (), **more: Any) -> Subject:
    """The subject of a run on the CPU with random weights; `more` are other fields of it."""
    config = compose(entry, [f"data.root={coco}", *overrides])
    settings = RunSettings.from_config(config, overrides=(), run_dir=run_dir, default_results=run_dir)
    detector = build_model(settings.parts, settings.classes).eval()
    untouched = copy.deepcopy(detector)
    split = open_data(settings.asked.data, settings.classes)
    values: dict[str, Any] = {
        "detector": detector,
        "fresh": lambda: untouched,
        "dataset": ImageDataset(
            split.files, split.ground_truth.image_ids.tolist(), split.ground_truth.sizes, detector.transform
        ),
        "ground_truth": split.ground_truth,
        "batches": plan_batches(settings.parts, detector.transform, split, settings.batch_size),
        "precision": settings.precision,
        "context": DistributedContext(),
        "workers": 0,
        "seed": 0,
        "run_dir": run_dir,
        "protocol": settings.parts["protocol"],
        "options": {"speed": settings.asked.speed, "evaluator": settings.asked.evaluator},
        "recipe": settings.recipe,
    }
    return Subject(**{**values, **more})
