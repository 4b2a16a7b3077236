"""Memory: the device's peak on a GPU, the process's own peak on a CPU, each called by its name."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.measure.measurement import Column, Measurement, Subject
from zoo.types import Json

if TYPE_CHECKING:
    import torch

CLEAR_REFS = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")

IMAGES = 8
"""Images whose evaluation is watched: the largest of the split, because they set the peak."""


class Memory:
    """The peak between `reset` and `result`.

    On CUDA the peaks of PyTorch's allocator: `allocated` is what tensors took, `reserved` what was
    kept from the driver for them. On a CPU how far the resident set of the process rose above where
    it stood at the reset: what was in the process before, interpreter, libraries and leftovers of
    earlier runs, does not count.

    Args:
        device: whose memory is measured.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._baseline = 0

    def reset(self) -> None:
        """Give back what is not used any more, and begin a new peak from there."""
        gc.collect()
        if self.device.type == "cuda":
            import torch

            torch.cuda.synchronize(self.device)
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        _return_free_memory()
        if CLEAR_REFS.exists():
            CLEAR_REFS.write_text("5")  # Linux: sets the peak resident set back to the present one
        self._baseline = peak_rss()

    def result(self) -> dict[str, int]:
        """Peaks in bytes: `peak_allocated_bytes` and `peak_reserved_bytes` on CUDA, `peak_bytes` on a CPU."""
        if self.device.type == "cuda":
            import torch

            torch.cuda.synchronize(self.device)
            return {
                "peak_allocated_bytes": torch.cuda.max_memory_allocated(self.device),
                "peak_reserved_bytes": torch.cuda.max_memory_reserved(self.device),
            }
        return {"peak_bytes": max(peak_rss() - self._baseline, 0)}


def _return_free_memory() -> None:
    """Make the C library hand freed pages back to the system, where it has a call for that (glibc)."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def peak_rss() -> int:
    """The highest resident set of this process, in bytes."""
    if STATUS.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())
        if found:
            return int(found[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _run(subject: Subject) -> dict[str, Json]:
    """The peak of evaluating the largest images, weights included."""
    memory = Memory(subject.device)
    _evaluate_largest(subject)  # once before: the first pass loads code and fills caches that stay
    memory.reset()
    _evaluate_largest(subject)
    peaks: Mapping[str, int] = memory.result()
    if subject.device.type == "cuda":
        return {"memory": {"kind": "device", **peaks}}
    state = subject.detector.state_dict().values()
    weights = sum(tensor.numel() * tensor.element_size() for tensor in state)
    peak = peaks["peak_bytes"] + weights
    return {"memory": {"kind": "host", "peak_bytes": peak, "weights_bytes": weights}}


def _evaluate_largest(subject: Subject) -> None:
    """Detect in the batches that hold the largest images, as the evaluation does."""
    from zoo.data.loader import image_loader
    from zoo.run.evaluate import detect

    truth = subject.ground_truth
    sizes = (truth.heights * truth.widths).tolist()
    ordered = sorted(subject.batches, key=lambda batch: -max(sizes[i] for i in batch.indices))
    chosen = ordered[: -(-IMAGES // max(len(ordered[0].indices), 1))]
    for samples in image_loader(subject.dataset, chosen, workers=0):
        detect(subject.detector, samples, subject.precision)


MEASUREMENT = Measurement(
    name="memory",
    about="peak memory of the evaluation: of the device, or of the process on a CPU",
    order=30,
    version=2,
    run=_run,
    columns=(
        Column(name="memory_gb", keys=("memory.peak_allocated_bytes", "memory.peak_bytes"), decimals=2, scale=1e-9),
        Column(name="memory_kind", keys=("memory.kind",)),
    ),
)
