"""Complexity: parameters, and multiply-accumulates of one forward pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from zoo.models.detectors.base import Detector

IMAGE_SIZE = (800, 1333)
"""Height and width of the grey image whose pass is counted, before preprocessing."""


@torch.inference_mode()
def complexity(detector: Detector) -> dict[str, Any]:
    """Count a detector's parameters and the work of one image.

    Convention: 1 MAC is one multiplication with its addition (half of what is often called FLOPs);
    convolutions and matrix products count, everything else does not. The second stage of a
    two-stage detector works on as many proposals as the grey image yields.

    Returns:
        params: parameters, trainable or not, normalisation included, buffers not.
        macs: of the whole network.
        macs_input: shape (N, 3, H, W) of the input they were counted on.
        macs_by_part: backbone, neck, heads.
    """
    grey = np.full((*IMAGE_SIZE, 3), 128, dtype=np.uint8)
    batch = detector.prepare([detector.transform(grey)])
    with FlopCounterMode(display=False) as counter:
        detector.network(batch)
    counts = counter.get_flop_counts()  # by class name, a child's counts in its parent's too
    parts = {name: sum(counts.get(type(child).__name__, {}).values()) // 2 for name, child in detector.named_children()}
    return {
        "params": sum(parameter.numel() for parameter in detector.parameters()),
        "macs": counter.get_total_flops() // 2,
        "macs_input": list(batch.images.shape),
        "macs_by_part": {name: macs for name, macs in parts.items() if macs},
    }
