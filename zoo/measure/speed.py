"""Speed: frames a second and latency percentiles from the times of single images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.measure.measurement import Column, Measurement, Metric, Subject
from zoo.types import Json

if TYPE_CHECKING:
    from zoo.run.timing import PhaseTimes


class Speed:
    """Collects phase times over several rounds.

    fps is what mmdetection's benchmark script calls so: images divided by the seconds from bytes on
    the host to finished detections, batch size 1, loading excluded. Of the rounds the median is
    reported, with the lowest and highest beside it.
    """

    def __init__(self) -> None:
        self._rounds: dict[int, list[PhaseTimes]] = {}

    def reset(self) -> None:
        """Forget everything."""
        self._rounds.clear()

    def update(self, index: int, times: PhaseTimes) -> None:
        """The times of one image in round `index`."""
        self._rounds.setdefault(index, []).append(times)

    def result(self) -> dict[str, Json]:
        """fps, latency_ms (p50, p95 over all images and rounds), phases_ms (medians), and how much was timed."""
        import numpy as np

        per_round = [len(times) / sum(t.total for t in times) for times in self._rounds.values()]
        everything = [t for times in self._rounds.values() for t in times]
        totals_ms = np.array([t.total for t in everything]) * 1e3
        return {
            "fps": float(np.median(per_round)),
            "fps_rounds": {"lowest": min(per_round), "highest": max(per_round)},
            "latency_ms": {"p50": float(np.median(totals_ms)), "p95": float(np.percentile(totals_ms, 95))},
            "phases_ms": {
                phase: float(np.median([getattr(t, phase) for t in everything]) * 1e3)
                for phase in ("pre", "model", "post")
            },
            "timed": {"rounds": len(per_round), "images": len(everything) // len(per_round)},
        }


def _run(subject: Subject) -> dict[str, Json]:
    """Time the first images of the evaluation one by one."""
    from zoo.run.timing import time_phases, timed_samples

    options = subject.options["speed"]
    samples, warmup = timed_samples(subject.dataset, subject.device, options.images, options.warmup)
    speed = Speed()
    rounds = time_phases(subject.detector, samples, warmup=warmup, rounds=options.rounds, precision=subject.precision)
    for index, times in rounds:
        speed.update(index, times)
    return speed.result()


MEASUREMENT = Measurement(
    name="speed",
    about="frames a second and latency, one image at a time",
    order=20,
    version=1,
    run=_run,
    alone=True,
    metrics={
        "fps": Metric(key="fps", hardware_bound=True),
        "latency_ms": Metric(key="latency_ms.p50", hardware_bound=True),
    },
    columns=(
        Column(name="fps", keys=("fps",), decimals=2),
        Column(name="latency_p50_ms", keys=("latency_ms.p50",), decimals=1),
        Column(name="latency_p95_ms", keys=("latency_ms.p95",), decimals=1),
    ),
    count="timed.images",
)
