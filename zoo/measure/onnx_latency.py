"""Latency of an exported network on the CPU: what YOLOv8's tables print as "CPU ONNX (ms)"."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from zoo.errors import ZooError
from zoo.measure.measurement import Column, Measurement, Metric, Subject
from zoo.types import Json, Sample

if TYPE_CHECKING:
    from zoo.run.onnx_export import OnnxDetector
    from zoo.run.warm_up import WarmUpRule

FILE = "model.onnx"
"""The exported network, in a run's folder."""


def onnx_latency(
    detector: OnnxDetector, samples: Sequence[Sample], *, rule: WarmUpRule, rounds: int
) -> dict[str, Json]:
    """Time real images one by one, float32, the network by onnxruntime.

    The percentiles are of the network alone, as the published figure seems to be: the column beside it, of the same
    caption, is below a millisecond, which leaves no room for suppression.

    Args:
        detector: of the exported network.
        samples: preprocessed images, held in memory.
        rule: how long the first of them is repeated before.
        rounds: passes over all samples.

    Returns:
        onnx_latency_ms: p50 to p99 and n (`zoo.measure.speed_values.Percentiles` of the network, over all images and
        rounds); phases_ms (medians of what comes before the network, of it, and of what comes after it); how much was
        timed; shape of the input; and what it ran on.
    """
    from zoo.measure.speed import medians_ms, percentiles_ms
    from zoo.run import timing
    from zoo.run.warm_up import warm_up
    from zoo.runtime.hardware import fingerprint
    from zoo.schema import plain

    warm_up(lambda sample: timing.time_image(detector, sample, "fp32"), [samples], rule)
    phases = [timing.time_phases(detector, sample, "fp32") for _ in range(rounds) for sample in samples]
    return {
        "onnx_latency_ms": {
            **plain(percentiles_ms([times.model for times in phases])),
            "phases_ms": plain(medians_ms(phases)),
            "timed": {"rounds": rounds, "images": len(samples)},
            "input": [1, 3, *detector.input_shape],
            "cpu": fingerprint(detector.device).device,
            "onnxruntime": version("onnxruntime"),
            "threads": detector.threads,
        }
    }


def _refuses(subject: Subject) -> str | None:
    from zoo.run.onnx_export import exportable

    try:
        exportable(subject.detector)
    except ZooError as error:
        return f"needs a network that can be exported: {error.message}"
    return None


def _run(subject: Subject) -> dict[str, Json]:
    """Export the network as the protocol has it, and time the file."""
    import copy

    from zoo.run.onnx_export import OnnxDetector, export_network, exportable
    from zoo.run.timing import timed_samples
    from zoo.run.warm_up import warm_up_rule

    detector = exportable(copy.deepcopy(subject.detector).cpu())
    path, options = subject.run_dir / FILE, subject.options["speed"]
    export_network(detector, path)
    samples = timed_samples(subject.dataset, detector.device, options.images)
    rule = warm_up_rule(detector.device.type, options.warmup)
    return onnx_latency(OnnxDetector(detector, path).eval(), samples, rule=rule, rounds=options.rounds)


MEASUREMENT = Measurement(
    name="onnx_latency",
    about="latency of the network exported to ONNX, on the CPU (extra `onnx`)",
    order=50,
    version=1,
    run=_run,
    alone=True,
    refuses=_refuses,
    metrics={"onnx_latency_ms": Metric(key="onnx_latency_ms.p50", hardware_bound=True)},
    columns=(
        Column(name="published_onnx_ms", keys=("onnx_latency_ms",), published=True),
        Column(name="onnx_p50_ms", keys=("onnx_latency_ms.p50",), decimals=1),
        Column(name="onnx_on", keys=("onnx_latency_ms.cpu",)),
    ),
    optional=True,
    count="onnx_latency_ms.timed.images",
)
