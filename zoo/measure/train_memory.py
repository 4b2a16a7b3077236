"""The memory of a training step: what zoos print beside their recipes."""

from __future__ import annotations

from zoo.measure.measurement import Column, Measurement, Metric, Subject
from zoo.types import Json

STEPS = 20
"""Training steps whose peak is taken."""


def published_gigabytes(allocated: int) -> float:
    """A peak in the unit of mmdetection's tables: whole MB of 2^20 bytes, as its log has them, 1024 to a GB."""
    return (allocated >> 20) / 1024


def _refuses(subject: Subject) -> str | None:
    if subject.device.type != "cuda":
        return "needs a CUDA device"
    return "needs an entry with a schedule" if subject.recipe is None else None


def _run(subject: Subject) -> dict[str, Json]:
    """Take real steps on a detector that has the device to itself; see docs/training.md."""
    from zoo.measure.memory import DevicePeak
    from zoo.train.training import profile_steps

    assert subject.recipe is not None  # noqa: S101 - `_refuses` has looked
    device = subject.device
    subject.detector.cpu()  # what is measured has the device to itself
    try:
        detector = subject.fresh().to(device)
        peak = DevicePeak(device)
        files, truth = subject.dataset.files, subject.ground_truth
        taken = profile_steps(
            subject.recipe, detector, truth, files, steps=STEPS, seed=subject.seed, workers=subject.workers
        )
        peaks = peak.result()
    finally:
        subject.detector.to(device)
    gigabytes = published_gigabytes(peaks["peak_allocated_bytes"])
    return {"train_memory_gb": gigabytes, "train_memory": {"steps": STEPS, **taken, **peaks}}


MEASUREMENT = Measurement(
    name="train_memory",
    about="peak device memory of training steps with the recipe's images a GPU",
    order=60,
    version=1,
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
