"""Speed: frames a second and latency percentiles from the times of single images."""

from __future__ import annotations

from typing import Any

import numpy as np

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

    def result(self) -> dict[str, Any]:
        """fps, latency_ms (p50, p95 over all images and rounds), phases_ms (medians), and how much was timed."""
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
