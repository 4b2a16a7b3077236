"""CPU time and memory as a benchmark should take them: alternating, so that other load hits all candidates alike."""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path


def cpu_seconds(call: Callable[[], object]) -> float:
    """CPU seconds of one call: user and system, all threads of this process."""
    begin = time.process_time()
    call()
    return time.process_time() - begin


def clock_of(device: str) -> Callable[[Callable[[], object]], float]:
    """How long a call takes: CPU seconds on a CPU, else seconds until the device has done all of it."""
    if device == "cpu":
        return cpu_seconds
    import torch

    def seconds(call: Callable[[], object]) -> float:
        torch.cuda.synchronize()
        begin = time.perf_counter()
        call()
        torch.cuda.synchronize()
        return time.perf_counter() - begin

    return seconds


def alternate(
    candidates: dict[str, Callable[[], object]], rounds: int, seconds_of: Callable[..., float] = cpu_seconds
) -> dict[str, float]:
    """The median seconds of each candidate.

    Args:
        candidates: what to call, by name; one untimed call of each comes first.
        rounds: how often each is timed, one after the other in turn.
        seconds_of: the clock: calls a candidate and says how long it took.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for candidate in candidates.values():
        candidate()
    for _ in range(rounds):
        for name, candidate in candidates.items():
            gc.collect()
            seconds[name].append(seconds_of(candidate))
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak_rss_mb() -> float:
    """The highest resident set of this process, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: getrusage would count what the parent had before this process began
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1000
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)
