"""Complexity: parameters, and multiply-accumulates of one forward pass."""

from __future__ import annotations

from zoo.measure.measurement import Column, Measurement, Metric, Subject
from zoo.types import Json


def _run(subject: Subject) -> dict[str, Json]:
    from zoo.run.flops import count

    return count(subject.detector, **subject.protocol.get("complexity", {}))


MEASUREMENT = Measurement(
    name="complexity",
    about="parameters, and multiply-accumulates of one forward pass",
    order=40,
    version=1,
    run=_run,
    metrics={
        "params_m": Metric(key="params", scale=1e-6),
        "flops_b": Metric(key="macs", scale=2e-9),  # one multiply-accumulate is two operations
        "params": Metric(key="params"),
        "gmacs": Metric(key="macs", scale=1e-9),
    },
    columns=(
        Column(name="params_m", keys=("params",), decimals=2, scale=1e-6),
        Column(name="gmacs", keys=("macs",), decimals=1, scale=1e-9),
    ),
)
