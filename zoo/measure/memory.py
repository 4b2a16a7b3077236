"""Memory: the device's peak on a GPU, the process's peak on a CPU, each called by its name."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import torch

CLEAR_REFS = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")


class Memory:
    """The peak between `reset` and `result`.

    On CUDA the peaks of PyTorch's allocator: `allocated` is what tensors took, `reserved` what was
    kept from the driver for them. On a CPU the resident set of the whole process, weights,
    libraries and interpreter included; where the system cannot reset that peak, it is the peak
    since the process began, and the result says so.

    Args:
        device: whose memory is measured.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._since = "process start"

    def reset(self) -> None:
        """Begin a new peak."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
        elif CLEAR_REFS.exists():
            CLEAR_REFS.write_text("5")  # Linux: sets the peak resident set back to the present one
            self._since = "reset"

    def update(self, *_: Any) -> None:
        """Nothing to do: the allocator and the kernel keep the peak."""

    def result(self) -> dict[str, Any]:
        """`memory`: kind ("cuda" or "host RSS") and peaks in bytes."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            return {
                "memory": {
                    "kind": "cuda",
                    "peak_allocated_bytes": torch.cuda.max_memory_allocated(self.device),
                    "peak_reserved_bytes": torch.cuda.max_memory_reserved(self.device),
                }
            }
        return {"memory": {"kind": "host RSS", "peak_rss_bytes": peak_rss(), "since": self._since}}


def published_gigabytes(allocated: int) -> float:
    """A peak in the unit of mmdetection's tables: whole MB of 2^20 bytes, as its log has them, 1024 to a GB."""
    return (allocated >> 20) / 1024


def peak_rss() -> int:
    """The highest resident set of this process, in bytes."""
    if STATUS.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())
        if found:
            return int(found[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
