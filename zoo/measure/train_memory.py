"""`measure=[train_memory]`: when the memory of training is measured, and what becomes of the run where it cannot be."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from zoo.config.settings import RunSettings
from zoo.data.coco import CocoGroundTruth
from zoo.errors import DeviceError
from zoo.measure.memory import Memory, published_gigabytes
from zoo.models.detectors.base import Detector
from zoo.results.record import Record
from zoo.train.config import Recipe
from zoo.train.training import profile_steps

MEMORY_STEPS = 20
"""Training steps whose peak of memory is taken."""

_log = logging.getLogger(__name__)


def rehearsed_recipe(settings: RunSettings, device: torch.device, record: Record) -> Recipe | None:
    """The recipe whose memory is measured at the end; None where that is not asked for, or cannot be done.

    Raises:
        DeviceError: it cannot be done, and nothing else was asked for.
    """
    if "train_memory" not in settings.measure:
        return None
    if device.type == "cuda" and settings.recipe is not None:
        return settings.recipe
    lacks = "a CUDA device" if device.type != "cuda" else "an entry with a schedule"
    error = DeviceError(f"train_memory needs {lacks}", next_step="leave train_memory out of measure, or give it that")
    if settings.measure == ("train_memory",):
        raise error
    _set_aside(record, error.message)
    return None


def measure_train_memory(
    settings: RunSettings,
    recipe: Recipe,
    detector: Detector,
    ground_truth: CocoGroundTruth,
    files: Sequence[Path],
    workers: int,
    record: Record,
) -> None:
    """Measure it, on a detector that has the device to itself and whose weights may change.

    Where the device does not suffice, what was measured before still stands.

    Raises:
        torch.OutOfMemoryError: it does not suffice, and nothing else was asked for.
    """
    torch.cuda.empty_cache()
    memory = Memory(detector.device)
    try:
        record.measured |= train_memory(
            recipe, detector, ground_truth, files, memory=memory, seed=settings.seed, workers=workers
        )
    except torch.OutOfMemoryError:
        if settings.measure == ("train_memory",):
            raise
        _set_aside(record, "the device has too little memory for a training step")


def train_memory(
    recipe: Recipe,
    detector: Detector,
    ground_truth: CocoGroundTruth,
    files: Sequence[Path],
    *,
    memory: Memory,
    seed: int,
    workers: int,
) -> dict[str, Any]:
    """The most memory that training steps take; see docs/training.md.

    Args:
        recipe: how the entry is trained.
        detector: alone on its device; its weights are changed.
        ground_truth: annotations of the images.
        files: the image files.
        memory: the measurement of that device's memory.
        seed: the seed of the training.
        workers: processes that decode images.

    Returns:
        train_memory_gb, and train_memory: how it was measured, and both peaks in bytes.
    """
    memory.reset()
    steps = profile_steps(recipe, detector, ground_truth, files, steps=MEMORY_STEPS, seed=seed, workers=workers)
    peaks = memory.result()["memory"]
    gigabytes = published_gigabytes(peaks["peak_allocated_bytes"])
    return {"train_memory_gb": gigabytes, "train_memory": {"steps": MEMORY_STEPS, **steps, **peaks}}


def _set_aside(record: Record, reason: str) -> None:
    """Note why the memory of training is not measured, where other things are."""
    _log.warning("warning: train_memory is not measured: %s", reason)
    record.measured["unmeasured"] = {"train_memory_gb": reason}
