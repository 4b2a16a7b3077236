"""Times on a device: whole calls between synchronisations, and phases by events."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import nn

from gpu.images import use_tests_and_benchmarks
from gpu.lines import Session

if TYPE_CHECKING:
    from zoo.models.detectors.base import Detector
    from zoo.types import Sample

Call: TypeAlias = Callable[[], object]

Edge: TypeAlias = tuple[str, bool]
"""A module's name, and whether its end is meant; else its beginning."""

WARM_UP = 5

CALLS = 40
"""Timed calls of a detector whose phases are looked at."""


@dataclass(slots=True)
class Phases:
    """Milliseconds of the phases of a detector, by the modules that they begin and end with.

    Events are recorded on the stream, so that nothing waits for the device within an image; on a CPU clocks are read.

    Attributes:
        detector: whose phases they are.
        edges: phase -> the module whose beginning or end it ends with; the last phase ends with the call.
        times: phase -> milliseconds of each timed call.
    """

    detector: nn.Module
    edges: dict[str, Edge | None]
    times: dict[str, list[float]] = field(default_factory=dict)
    _marks: dict[str, torch.cuda.Event | float] = field(default_factory=dict)

    def time(self, call: Call, calls: int) -> None:
        """Time calls of the detector, one after another."""
        on_gpu = next(self.detector.parameters()).is_cuda
        with self._hooks(on_gpu):
            for _ in range(calls):
                self._marks = {"": _mark(on_gpu)}
                call()
                self._marks[next(reversed(self.edges))] = _mark(on_gpu)
                if on_gpu:
                    torch.cuda.synchronize()
                self._read()

    def percentile(self, phase: str, q: float) -> float:
        """A percentile of a phase, in ms."""
        return float(np.percentile(self.times[phase], q))

    def total(self, q: float) -> float:
        """A percentile of whole calls, in ms."""
        return float(np.percentile(np.sum(list(self.times.values()), axis=0), q))

    def _read(self) -> None:
        before = self._marks[""]
        for phase in self.edges:
            mark = self._marks[phase]
            self.times.setdefault(phase, []).append(_milliseconds(before, mark))
            before = mark

    @contextmanager
    def _hooks(self, on_gpu: bool) -> Iterator[None]:
        def marks(phase: str) -> Callable[..., None]:
            def hook(*_: object) -> None:
                self._marks[phase] = _mark(on_gpu)

            return hook

        handles = []
        for phase, edge in self.edges.items():
            if edge is not None:
                name, at_end = edge
                module = self.detector.get_submodule(name)
                add = module.register_forward_hook if at_end else module.register_forward_pre_hook
                handles.append(add(marks(phase)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _mark(on_gpu: bool) -> torch.cuda.Event | float:
    if not on_gpu:
        return time.perf_counter() * 1e3
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event


def _milliseconds(first: torch.cuda.Event | float, second: torch.cuda.Event | float) -> float:
    if isinstance(first, float) or isinstance(second, float):
        assert isinstance(first, float)  # noqa: S101 - the marks of an image are of one kind
        assert isinstance(second, float)  # noqa: S101
        return second - first
    return float(first.elapsed_time(second))


def interleaved(session: Session, candidates: dict[str, Call], rounds: int) -> dict[str, float]:
    """The median milliseconds of each candidate, warm, one after the other in turn."""
    use_tests_and_benchmarks()
    from _timing import alternate

    for call in candidates.values():
        warm(session, call)
    with frozen():
        seconds = alternate(candidates, rounds if session.on_gpu else 1, seconds_of(session))
    return {name: value * 1e3 for name, value in seconds.items()}


@contextmanager
def frozen() -> Iterator[None]:
    """Within it Python's garbage collector leaves alone what is there already, which takes it longer than a call."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def seconds_of(session: Session) -> Callable[[Call], float]:
    """The clock of the session's device: seconds of a call, up to the end of its work there."""

    def seconds(call: Call) -> float:
        if session.on_gpu:
            torch.cuda.synchronize()
        begin = time.perf_counter()
        call()
        if session.on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter() - begin

    return seconds


class Peak(NamedTuple):
    """Bytes that PyTorch holds on the GPU before a call, and at most while it runs."""

    before: int
    highest: int


def peak_of(call: Call) -> Peak:
    """What a call, which is warm, takes."""
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return Peak(before, torch.cuda.max_memory_allocated())


def warm(session: Session, call: Call) -> None:
    """Calls before the clock starts."""
    for _ in range(WARM_UP if session.on_gpu else 0):
        call()


def timed_phases(
    session: Session, model: Detector, edges: dict[str, Edge | None], samples: list[Sample], precision: str = "fp32"
) -> Phases:
    """The phases of a detector on samples in turn, warm for each."""
    from zoo.run.evaluate import detect
    from zoo.run.precision import inference_precision

    phases = Phases(model, edges)
    with inference_precision(model, torch.device(session.device), precision):  # as an evaluation does, once for all
        for sample in samples:
            warm(session, partial(detect, model, [sample], precision))
        with frozen():
            for i in range(CALLS if session.on_gpu else 1):
                sample = samples[i % len(samples)]
                phases.time(partial(detect, model, [sample], precision), 1)
    return phases
