"""The noise floor: how far AP moves where nothing that matters changes, on this machine, for this architecture.

The same weights are evaluated several times (A/A runs) by the same protocol, with another number of threads and with
other algorithms for convolutions. Batch size, precision and kind of device are not among them: they have a direction.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from zoo.measure.measurement import Column, Measurement, Subject
from zoo.types import Json

if TYPE_CHECKING:
    import torch


def noise(subject: Subject) -> dict[str, Json]:
    """Evaluate in every way that must not matter.

    Returns:
        noise: `floor`, AP metric -> largest difference between two runs, in points; and the `runs`, each with `how` it
        was made and its numbers. Nothing in another process than the first.
    """
    from zoo.measure.accuracy import evaluated

    runs: list[dict[str, Json]] = []
    floor: dict[str, float] = {}
    for how, circumstances in _ways(subject.device):
        with circumstances:
            metric = evaluated(subject)
        if metric is None:
            continue
        numbers = {name: value for name, value in metric.result().items() if name != "per_class"}
        runs.append({"how": how, **numbers})
    for name in runs[0] if runs else ():
        values = [value for run in runs if isinstance(value := run[name], float)]
        if values:
            floor[name] = max(values) - min(values)
    return {"noise": {"floor": floor, "runs": runs}} if runs else {}


def _ways(device: torch.device) -> Iterator[tuple[str, AbstractContextManager[None]]]:
    """The circumstances of each run, in words and as what makes them."""
    import torch

    threads = torch.get_num_threads()
    yield "as evaluated", contextlib.nullcontext()
    yield "repeated", contextlib.nullcontext()
    if device.type == "cuda":
        yield "algorithms of cuDNN by trial", _cudnn(benchmark=True, deterministic=False)
        yield "deterministic algorithms of cuDNN", _cudnn(benchmark=False, deterministic=True)
        return
    for other in sorted({1, 2, threads} - {threads}):
        yield f"{other} thread{'s' if other > 1 else ''} in the place of {threads}", _threads(other)
    yield "convolutions without oneDNN", _without_one_dnn()


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _without_one_dnn() -> Iterator[None]:
    import torch

    # Not by `flags`: that sets TF32 too, and warns where there is no Intel GPU.
    torch.backends.mkldnn.set_flags(_enabled=False)  # type: ignore[no-untyped-call] # torch's own
    try:
        yield
    finally:
        torch.backends.mkldnn.set_flags(_enabled=True)  # type: ignore[no-untyped-call] # torch's own


@contextlib.contextmanager
def _cudnn(*, benchmark: bool, deterministic: bool) -> Iterator[None]:
    import torch

    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = benchmark, deterministic
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before


MEASUREMENT = Measurement(
    name="noise",
    about="how far AP moves with threads and algorithms: several evaluations",
    order=15,
    version=1,
    run=noise,
    columns=(Column(name="noise_box_AP", keys=("noise.floor.box_AP",), decimals=3),),
    collective=True,
    optional=True,
)
