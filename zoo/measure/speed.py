"""Speed, protocol 2: frames a second and latency percentiles of whole images, phases apart, and what the machine did.

What the clock sees is what mmdetection's benchmark script times, by which most published tables were made: one image
at a time from its resized pixels in the host's memory to its detections there, with one synchronisation at each end.
Decoding and resizing are outside.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from zoo.measure.measurement import Column, Measurement, Metric, Subject
from zoo.types import Json

if TYPE_CHECKING:
    from zoo.measure.speed_values import Clock, Percentiles, PhasesMs, RoundValues, SpeedValues
    from zoo.models.detectors.base import Detector
    from zoo.run.timing import PhaseTimes
    from zoo.run.warm_up import WarmUp, WarmUpRule
    from zoo.runtime.monitor import Monitor, Watch
    from zoo.types import Sample

log = logging.getLogger(__name__)

PHASES = ("pre", "model", "post")
"""Of an image, in their order."""

FOREIGN_LOAD = 0.25
"""Share of the machine's CPU cores that other processes may keep busy in a round before a note says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One pass over all images.

    Attributes:
        started: when it began (UTC, ISO 8601).
        seconds: of each image.
        watch: what the machine did meanwhile.
        discarded: the pass before it, which was throttled, so that this one was made; None where there was none.
    """

    started: str
    seconds: Sequence[float]
    watch: Watch
    discarded: Round | None = None

    @property
    def fps(self) -> float:
        """Images a second."""
        return len(self.seconds) / sum(self.seconds)

    def values(self) -> RoundValues:
        """What a record holds of it."""
        from zoo.measure.speed_values import DiscardedRound, RoundValues

        watch, before = self.watch, self.discarded
        return RoundValues(
            started=self.started,
            fps=self.fps,
            readings=len(watch.readings),
            machine=watch.spreads,
            throttled_by=watch.throttled_by,
            foreign_processes=watch.foreign_processes,
            foreign_load=watch.foreign_load,
            discarded=None
            if before is None
            else DiscardedRound(fps=before.fps, throttled_by=before.watch.throttled_by),
        )


@dataclass(slots=True)
class Speed:
    """The speed of one detector on its images, taken in steps, so that several can take turns: see `take_turns`.

    Args:
        detector: in eval mode.
        samples: preprocessed images, held in memory.
        precision: of the network.
        monitor: reads the machine while the rounds run.
    """

    detector: Detector
    samples: Sequence[Sample]
    precision: str
    monitor: Monitor
    rounds: list[Round] = field(default_factory=list)
    phases: list[PhaseTimes] = field(default_factory=list)
    _warmth: WarmUp | None = None

    def warm_up(self, rule: WarmUpRule) -> None:
        """Run every padded shape until it is warm."""
        from zoo.run.timing import by_padded_shape
        from zoo.run.warm_up import warm_up

        with self._weights_cast():
            self._warmth = warm_up(self._seconds_of, by_padded_shape(self.detector, self.samples), rule)

    def take_round(self) -> None:
        """Time every image once; a round in which the card was throttled is repeated, once."""
        with self._weights_cast():
            taken = self._pass()
            if taken.watch.throttled_by:
                taken = replace(self._pass(), discarded=taken)
        self.rounds.append(taken)

    def take_phases(self) -> None:
        """Time the phases of every image once."""
        from zoo.run.timing import time_phases
        from zoo.runtime.progress import Progress

        with self._weights_cast(), Progress("phases", total=len(self.samples), unit="img") as progress:
            for sample in self.samples:
                self.phases.append(time_phases(self.detector, sample, self.precision))
                progress.update()

    @property
    def notes(self) -> list[str]:
        """What has to be said besides the numbers; see `notes`."""
        return notes(self.rounds, self._warmth)

    def result(self, interleaved_with: tuple[str, ...] = ()) -> SpeedValues:
        """What a record holds.

        fps is the median of the rounds; the percentiles are of all images and rounds.

        Args:
            interleaved_with: other runs of the sweep that its rounds took turns with.
        """
        import numpy as np

        from zoo.measure.speed_values import FpsRange, MonitorValues, SpeedValues, Timed

        per_round = [one.fps for one in self.rounds]
        return SpeedValues(
            fps=float(np.median(per_round)),
            fps_rounds=FpsRange(lowest=min(per_round), highest=max(per_round)),
            latency_ms=percentiles_ms([seconds for one in self.rounds for seconds in one.seconds]),
            phases_ms=medians_ms(self.phases),
            timed=Timed(
                images=len(self.samples),
                rounds=len(self.rounds),
                each=tuple(one.values() for one in self.rounds),
                note="; ".join(self.notes),
                clock=clock_of(self.samples),
                warm_up=self._warmth,
                monitor=MonitorValues(interval_s=self.monitor.interval, unread=self.monitor.unread),
                interleaved_with=interleaved_with,
            ),
        )

    def _weights_cast(self) -> AbstractContextManager[None]:
        """Weights are cast before the clock starts, once for many images; those that take turns may differ in it."""
        from zoo.run.precision import inference_precision

        return inference_precision(self.detector, self.detector.device, self.precision)

    def _seconds_of(self, sample: Sample) -> float:
        from zoo.run.timing import time_image

        return time_image(self.detector, sample, self.precision)

    def _pass(self) -> Round:
        from zoo.runtime.progress import Progress
        from zoo.runtime.provenance import now

        started, seconds = now(), []
        with Progress("speed", total=len(self.samples), unit="img") as progress, self.monitor.watching() as watch:
            for sample in self.samples:
                seconds.append(self._seconds_of(sample))
                progress.update()
        return Round(started=started, seconds=seconds, watch=watch)


def take_turns(speeds: Sequence[Speed], rule: WarmUpRule, rounds: int) -> None:
    """Warm all of them up, then one round of each in turn, so that a drift of the machine hits all alike; phases last.

    Where a sweep interleaves runs, each round of this process is one of its turns: see `zoo.runtime.turns`.

    Args:
        speeds: those that are compared; one alone takes every turn.
        rule: until when each padded shape is warmed up.
        rounds: rounds of each.
    """
    import torch

    from zoo.runtime.turns import turns

    for speed in speeds:
        speed.warm_up(rule)
    for _ in range(rounds):
        for speed in speeds:
            turns().wait("round")
            speed.take_round()
    if turns().taken:
        torch.cuda.empty_cache()  # other runs may need the memory while this one waits for them to end
        turns().wait("rest")
    for speed in speeds:
        speed.take_phases()


def clock_of(samples: Sequence[Sample]) -> Clock:
    """What the clock of these images sees: where the device resizes them, that is inside."""
    from zoo.measure.speed_values import Clock

    resized = all(sample.device_size is None for sample in samples)
    return Clock(
        begins=f"{'resized' if resized else 'decoded'} pixels in pageable memory of the host",
        ends="detections in the host's memory",
        outside=("reading", "decoding", "resizing") if resized else ("reading", "decoding"),
    )


def percentiles_ms(seconds: Sequence[float]) -> Percentiles:
    """The percentiles of times, in milliseconds: those that so many times can tell."""
    import numpy as np

    from zoo.measure.speed_values import Percentiles

    n = len(seconds)

    def told(percent: int) -> float | None:
        beyond = n * (100 - percent) / 100
        return float(np.percentile(seconds, percent)) * 1e3 if beyond >= 1 else None

    return Percentiles(p50=told(50), p90=told(90), p95=told(95), p99=told(99), n=n)


def medians_ms(phases: Sequence[PhaseTimes]) -> PhasesMs:
    """The median of each phase over images, in milliseconds."""
    from statistics import median

    from zoo.measure.speed_values import PhasesMs

    return PhasesMs(**{name: median(getattr(times, name) for times in phases) * 1e3 for name in PHASES})


def notes(rounds: Sequence[Round], warmth: WarmUp | None) -> list[str]:
    """What has to be said of a speed besides its number, a sentence each."""
    found = []
    throttled = [one.watch.throttled_by for one in rounds if one.watch.throttled_by]
    if throttled:
        by = ", ".join(dict.fromkeys(name for reasons in throttled for name in reasons))
        found.append(f"throttled in {len(throttled)} of {len(rounds)} rounds ({by})")
    shared = max((one.watch.foreign_processes or 0 for one in rounds), default=0)
    if shared:
        found.append(f"{shared} other process{'es' if shared > 1 else ''} on the card")
    load = max((one.watch.foreign_load or 0.0 for one in rounds), default=0.0)
    if load > FOREIGN_LOAD:
        found.append(f"other processes kept {load:.0%} of the CPU cores busy")
    if warmth is not None and warmth.unsettled:
        found.append(f"{warmth.unsettled} of {warmth.shapes} padded shapes still not settled after the warm-up")
    return found


def _run(subject: Subject) -> dict[str, Json]:
    """Time the first images of the evaluation one by one."""
    from zoo.run.timing import timed_samples
    from zoo.run.warm_up import warm_up_rule
    from zoo.runtime.monitor import Monitor
    from zoo.runtime.turns import turns
    from zoo.schema import plain

    options, device = subject.options["speed"], subject.device
    samples = timed_samples(subject.dataset, device, options.images)
    speed = Speed(subject.detector, samples, subject.precision, Monitor(device))
    take_turns([speed], warm_up_rule(device.type, options.warmup), options.rounds)
    for note in speed.notes:
        log.warning("warning: speed: %s", note)
    values: dict[str, Json] = plain(speed.result(turns().last.interleaved_with))
    return values


MEASUREMENT = Measurement(
    name="speed",
    about="frames a second and latency, one image at a time",
    order=20,
    version=2,
    run=_run,
    alone=True,
    in_turns=True,
    metrics={
        "fps": Metric(key="fps", hardware_bound=True),
        "latency_ms": Metric(key="latency_ms.p50", hardware_bound=True),
    },
    columns=(
        Column(name="fps", keys=("fps",), decimals=2),
        Column(name="latency_p50_ms", keys=("latency_ms.p50",), decimals=1),
        Column(name="latency_p95_ms", keys=("latency_ms.p95",), decimals=1),
        Column(name="speed_note", keys=("timed.note",)),
    ),
    count="timed.images",
)
