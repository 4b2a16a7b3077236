"""Latency of an exported network on the CPU: what YOLOv8's tables print as "CPU ONNX (ms)"."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from zoo.measure.onnx_export import OnnxDetector
from zoo.measure.speed import Speed
from zoo.run.timing import time_phases
from zoo.runtime.hardware import fingerprint
from zoo.types import Sample


def onnx_latency(detector: OnnxDetector, samples: Sequence[Sample], *, warmup: int, rounds: int) -> dict[str, Any]:
    """Time real images one by one, float32, the network by onnxruntime.

    p50 and p95 are of the network alone, as the published figure seems to be: the column beside it, of the same
    caption, is below a millisecond, which leaves no room for suppression.

    Args:
        detector: of the exported network.
        samples: preprocessed images, held in memory.
        warmup: untimed images first.
        rounds: passes over all samples.

    Returns:
        onnx_latency_ms: p50, p95 (of the network, over all images and rounds); phases_ms (medians of what comes
        before, the network, and what comes after it); how much was timed; shape of the input; and what it ran on.
    """
    speed, networks_ms = Speed(), []
    for index, times in time_phases(detector, samples, warmup=warmup, rounds=rounds, precision="fp32"):
        speed.update(index, times)
        networks_ms.append(times.model * 1e3)
    spent = speed.result()
    return {
        "onnx_latency_ms": {
            "p50": float(np.median(networks_ms)),
            "p95": float(np.percentile(networks_ms, 95)),
            "phases_ms": spent["phases_ms"],
            "timed": spent["timed"],
            "input": [1, 3, *detector.input_shape],
            "cpu": fingerprint(detector.device)["device"],
            "onnxruntime": version("onnxruntime"),
            "threads": detector.threads,
        }
    }
