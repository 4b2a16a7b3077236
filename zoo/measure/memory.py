"""Memory: what PyTorch allocates at most during the evaluation, on the device or on the host."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from zoo.measure.measurement import Column, Measurement, Subject
from zoo.types import Json

if TYPE_CHECKING:
    import torch

    from zoo.models.detectors.base import Detector

IMAGES = 8
"""Images whose evaluation is watched: the largest of the split, because they set the peak."""


class DevicePeak:
    """The peaks of PyTorch's CUDA allocator since it was made.

    Args:
        device: whose memory is watched; what is cached and not used goes back to the driver first.
    """

    def __init__(self, device: torch.device) -> None:
        import torch

        self.device = device
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        self.restart()

    def restart(self) -> None:
        """Forget the peaks so far."""
        import torch

        torch.cuda.reset_peak_memory_stats(self.device)

    def result(self) -> dict[str, int]:
        """peak_allocated_bytes, what tensors took, and peak_reserved_bytes, what was kept from the driver for them."""
        import torch

        torch.cuda.synchronize(self.device)
        return {
            "peak_allocated_bytes": torch.cuda.max_memory_allocated(self.device),
            "peak_reserved_bytes": torch.cuda.max_memory_reserved(self.device),
        }


class HostPeak:
    """How far the tensors on the host rose, within the block, above where they stood when it began.

    Every allocation of PyTorch is counted, so that the number does not depend on what was in the
    process before, as its resident set does. What other libraries take (decoding, pasting masks
    with numpy) is not in it.

    Attributes:
        peak_bytes: known after the block.
    """

    def __init__(self) -> None:
        # The profiler's library reports its own steps on stderr below this level.
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
        from torch.profiler import ProfilerActivity, profile

        self._profile = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
        self.peak_bytes = 0

    def __enter__(self) -> Self:
        self._profile.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: object) -> None:
        self._profile.__exit__(*error)  # type: ignore[no-untyped-call]
        with tempfile.TemporaryDirectory() as folder:
            trace = Path(folder) / "trace.json"
            self._profile.export_chrome_trace(str(trace))
            events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
        changes = [(event["ts"], event["args"]["Bytes"]) for event in events if event.get("name") == "[memory]"]
        allocated = 0
        for _, change in sorted(changes, key=lambda item: item[0]):
            allocated += change
            self.peak_bytes = max(self.peak_bytes, allocated)


def _run(subject: Subject) -> dict[str, Json]:
    """The peak of evaluating the largest images, weights included."""
    _evaluate_largest(subject)  # once before: the first pass fills caches that stay
    if subject.device.type == "cuda":
        device = DevicePeak(subject.device)
        _evaluate_largest(subject)
        return {"memory": {"kind": "device", **_with_graphs(device.result(), subject.detector)}}
    with HostPeak() as host:
        _evaluate_largest(subject)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in subject.detector.state_dict().values())
    return {"memory": {"kind": "host", "peak_allocated_bytes": host.peak_bytes + weights}}


def _with_graphs(peaks: dict[str, int], detector: Detector) -> dict[str, Json]:
    """Peaks with what the detector's CUDA graphs work in, which the allocator counts as reserved, and not as given out.

    Returns:
        The peaks, and where there are graphs `graphs`: their number of `shapes`, `pool_bytes` and `buffer_bytes`.
    """
    from zoo.run.graphs import GraphedDense

    if not isinstance(detector.graphed_dense, GraphedDense):
        return {**peaks}
    graphs = detector.graphed_dense.memory
    return {**peaks, "peak_allocated_bytes": peaks["peak_allocated_bytes"] + graphs["pool_bytes"], "graphs": graphs}


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
    about="peak memory of the evaluation: what PyTorch allocates on the device, or on the host",
    order=30,
    version=2,
    run=_run,
    alone=True,
    columns=(
        Column(name="memory_gb", keys=("memory.peak_allocated_bytes", "memory.peak_rss_bytes"), decimals=3, scale=1e-9),
        Column(name="memory_kind", keys=("memory.kind",)),
    ),
)
