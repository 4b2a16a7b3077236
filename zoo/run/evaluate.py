"""The evaluation loop: every image through a detector, every result into the metrics."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

import torch
from tqdm import tqdm

from zoo.models.detectors.base import Detector, to_cpu
from zoo.types import Metric, Sample

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[None]:
    """The context a network runs in: convolutions and matrix products in the asked-for precision.

    Args:
        device: it runs on.
        precision: "fp32" (true float32, no TF32), "fp16" or "bf16".
    """
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[precision])


@torch.inference_mode()
def evaluate(
    detector: Detector, batches: Iterable[Sequence[Sample]], metrics: Sequence[Metric], *, images: int, precision: str
) -> None:
    """Feed every image's detections to every metric.

    Args:
        detector: in eval mode.
        batches: of preprocessed samples.
        metrics: updated with (image ids, detections on the CPU) after each batch.
        images: how many there are in all, for the progress bar.
        precision: of the network.
    """
    with tqdm(total=images, desc="evaluate", unit="img", disable=None) as progress:
        for samples in batches:
            with autocast(detector.device, precision):
                detections = [to_cpu(found) for found in detector(samples)]
            for metric in metrics:
                metric.update([sample.image_id for sample in samples], detections)
            progress.update(len(samples))
