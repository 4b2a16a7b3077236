"""The memory of a training step: what zoos print beside their recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zoo.measure.measurement import Column, Measurement, Metric, Subject
from zoo.types import Json

STEPS = 20
"""Ordinary training steps whose peaks are taken."""

WORST_STEPS = 3
"""Steps on the worst batch after them: by then momentum and gradients are there."""


def published_gigabytes(allocated: int) -> float:
    """A peak in the unit of mmdetection's tables: whole MB of 2^20 bytes, as its log has them, 1024 to a GB."""
    return (allocated >> 20) / 1024


def _refuses(subject: Subject) -> str | None:
    if subject.device.type != "cuda":
        return "needs a CUDA device"
    return "needs an entry with a schedule" if subject.recipe is None else None


def _run(subject: Subject) -> dict[str, Json]:
    """Take ordinary steps and worst ones on a detector that has the device to itself; see docs/training.md."""
    from zoo.measure.memory import DevicePeak
    from zoo.train.training import profile_steps

    assert subject.recipe is not None  # noqa: S101 - `_refuses` has looked
    device = subject.device
    subject.detector.cpu()  # what is measured has the device to itself
    try:
        detector = subject.fresh().to(device)
        peak, peaks = DevicePeak(device), list[dict[str, int]]()

        def after_step() -> None:
            peaks.append(peak.result())
            peak.restart()

        profile = profile_steps(
            *(subject.recipe, detector, subject.ground_truth, subject.dataset.files),
            steps=STEPS,
            worst_steps=WORST_STEPS,
            seed=subject.seed,
            workers=subject.workers,
            after_step=after_step,
        )
    finally:
        subject.detector.to(device)
    ordinary, worst = peaks[:STEPS], _largest(peaks[STEPS:])
    steps = {
        "images_per_gpu": profile.images_per_gpu,
        "precision": subject.recipe.precision,
        "ordinary": {
            "steps": STEPS,
            "largest_input": list(profile.largest_input),
            "mean_allocated_bytes": sum(step["peak_allocated_bytes"] for step in ordinary) // STEPS,
            **_largest(ordinary),
        },
        "worst_batch": {
            "steps": WORST_STEPS,
            "input": list(profile.worst_input),
            "objects": profile.worst_objects,
            **worst,
        },
    }
    return {"train_memory_gb": published_gigabytes(worst["peak_allocated_bytes"]), "train_memory": steps}


def _largest(peaks: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Of peaks of several steps the largest of each kind."""
    return {name: max(step[name] for step in peaks) for name in peaks[0]}


MEASUREMENT = Measurement(
    name="train_memory",
    about="peak device memory of a training step on the worst batch that the recipe makes for a GPU",
    order=60,
    version=2,
    run=_run,
    alone=True,
    refuses=_refuses,
    metrics={
        "train_memory_gb": Metric(key="train_memory_gb", hardware_bound=True),
        "train_memory_mb": Metric(key="train_memory_gb", scale=1024, hardware_bound=True),
    },
    columns=(
        Column(name="published_train_memory_gb", keys=("train_memory_gb",), published=True),
        Column(name="published_train_memory_mb", keys=("train_memory_mb",), published=True),
        Column(name="train_memory_gb", keys=("train_memory_gb",), decimals=1),
    ),
    optional=True,
)
