"""The stages of an evaluation, overlapped where they run on different hardware.

Worker processes decode and resize; a thread of the loader pins what they give. While the device works on a batch, the
host takes the next one from the loader and queues its copy and normalisation, and hands out the results of the batch
before, which have arrived by then. All of a device's work is queued on one stream, in the order of the batches.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from zoo.data.detections import Detections, start_copy
from zoo.errors import ZooError
from zoo.models.detectors.base import Detector
from zoo.run.non_finite import OutputSums, refusing_non_finite
from zoo.run.precision import autocast, cast_weights
from zoo.types import Batch, Sample

Found: TypeAlias = tuple[list[int], list[Detections]]
"""The image ids of a batch, and what was found in each, on the CPU."""

_BROKEN_BY_NAN = (ArithmeticError, IndexError, RuntimeError, ValueError)
"""What code raises that is handed a box which is no number."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A batch that is on the device, or on its way, and the samples it is made of."""

    samples: Sequence[Sample]
    batch: Batch


@dataclass(frozen=True, slots=True)
class _Results:
    """Copies of what was found in a batch, to be read when the event has happened; None: at once."""

    samples: Sequence[Sample]
    found: list[Detections]
    sums: Tensor | None
    arrived: torch.cuda.Event | None


class Stages:
    """A detector, stage by stage; none of them waits for another.

    Args:
        detector: in eval mode.
        precision: of the network.
        sums: what the outputs of its parts are summed up in, to be looked at with the results; None: they are looked at
            on the spot. "auto" leaves the latter to the CPU, which has nobody to wait for.
    """

    def __init__(self, detector: Detector, precision: str, sums: OutputSums | Literal["auto"] | None = "auto") -> None:
        self.detector = detector
        self.precision = precision
        self.device = detector.device
        self._sums = (None if self.device.type == "cpu" else OutputSums()) if sums == "auto" else sums

    def overlapped(self, batches: Iterable[Sequence[Sample]]) -> Generator[Found]:
        """What is found in every batch, in their order, at most one batch later than it is known.

        Raises:
            ZooError: an image is missing or damaged, and all batches before it have been handed out; or the network
                computes what is no number.
        """
        source, error = iter(batches), None
        waiting: _Results | None = None
        with self._running():
            following = self._prepare(source)
            while following is not None:
                current = following
                outputs = self._network(current)
                try:
                    following = self._prepare(source)
                except ZooError as caught:
                    following, error = None, caught
                if waiting is not None:
                    yield self._read(waiting)
                waiting = self._postprocess(outputs, current)
                del outputs, current  # a device has two batches at most, and the raw outputs of one
            if waiting is not None:
                yield self._read(waiting)
        if error is not None:
            raise error

    @contextmanager
    def _running(self) -> Iterator[None]:
        """What holds for all batches."""
        sums, detector = self._sums, self.detector
        looking = refusing_non_finite(detector, self.precision) if sums is None else sums.summing(detector)
        with cast_weights(detector, self.precision), looking:
            yield

    def _prepare(self, source: Iterator[Sequence[Sample]]) -> _Prepared | None:
        """The next batch, whose copy to the device and normalisation are queued there; None after the last."""
        samples = next(source, None)
        if samples is None:
            return None
        with torch.inference_mode():
            return _Prepared(samples, self.detector.prepare(samples))

    def _network(self, prepared: _Prepared) -> Any:
        """Raw outputs of a batch; of a captured graph they are overwritten by the next call."""
        with self._computing(prepared.samples):
            return self.detector.network(prepared.batch)

    def _postprocess(self, outputs: Any, prepared: _Prepared) -> _Results:
        """Detections of a batch, on their way to the host."""
        with self._computing(prepared.samples):
            found = self.detector.postprocess(outputs, prepared.batch)
            sums = None if self._sums is None else start_copy(self._sums.take())
            copies = [image.with_tensors(start_copy) for image in found]
            if self.device.type != "cuda":
                return _Results(prepared.samples, copies, sums, None)
            arrived = torch.cuda.Event()  # type: ignore[no-untyped-call] # torch's own
            arrived.record(torch.cuda.current_stream(self.device))
        return _Results(prepared.samples, copies, sums, arrived)

    def _read(self, results: _Results) -> Found:
        """Results that have arrived, in memory that is not pinned: that is for the batches to come.

        Raises:
            ZooError: the network computed what is no number.
        """
        found = results.found
        if results.arrived is not None:
            results.arrived.synchronize()
            found = [image.with_tensors(Tensor.clone) for image in found]
        if self._sums is not None and results.sums is not None and not bool(results.sums.isfinite().all()):
            self._look_again(results.samples, self._sums)
        return [sample.image_id for sample in results.samples], found

    @contextmanager
    def _computing(self, samples: Sequence[Sample]) -> Iterator[None]:
        """What holds where the network and its heads run."""
        try:
            with torch.inference_mode(), autocast(self.device, self.precision):
                yield
        except _BROKEN_BY_NAN:
            if self._sums is not None:
                self._look_again(samples, self._sums)
            raise

    def _look_again(self, samples: Sequence[Sample], sums: OutputSums) -> None:
        """Detect in a batch once more, and look at each part's outputs on the spot.

        Raises:
            ZooError: a part computes what is no number; the message names it.
        """
        again = Stages(self.detector, self.precision, sums=None)
        try:
            with sums.paused(), again._running(), torch.inference_mode(), autocast(self.device, self.precision):
                self.detector(samples)
        except _BROKEN_BY_NAN:
            return  # of another reason
