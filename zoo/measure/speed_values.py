"""What a record holds of a speed: the classes are its schema, and `Speed.result` fills them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zoo.run.warm_up import WarmUp
from zoo.runtime.monitor import Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Percentiles of times in milliseconds, linear between two of them; None where so few cannot tell it.

    At least one of the times has to lie beyond a percentile: p90 takes 10 of them, p95 takes 20 and p99 takes 100.

    Attributes:
        p50: the median.
        p90: 90th percentile; None for fewer than 10 times.
        p95: 95th percentile; None for fewer than 20.
        p99: 99th percentile; None for fewer than 100.
        n: number of times; None in version 1.
    """

    p50: float | None
    p90: float | None = None
    p95: float | None
    p99: float | None = None
    n: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FpsRange:
    """How far the rounds lie apart.

    Attributes:
        lowest: frames a second of the slowest round.
        highest: frames a second of the quickest one.
    """

    lowest: float
    highest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PhasesMs:
    """Medians of the phases in milliseconds, taken in a loop of their own: they need not add up to the latency.

    Attributes:
        pre: copy to the device, normalisation, padding.
        model: the network up to raw outputs.
        post: suppression, rescaling, and the copy of the detections to the host.
    """

    pre: float
    model: float
    post: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscardedRound:
    """A round that was throttled, so that it was repeated.

    Attributes:
        fps: its frames a second.
        throttled_by: what held the card back -> share of the readings that say so.
    """

    fps: float
    throttled_by: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundValues:
    """One pass over all images.

    Attributes:
        started: when it began (UTC, ISO 8601).
        fps: frames a second.
        readings: how often the machine was read meanwhile.
        machine: quantity, such as `sm_clock_mhz`, `power_w`, `temperature_c` or `cpu_clock_mhz` -> its readings.
        throttled_by: what held the card back -> share of the readings that say so; empty where nothing did, and where
            nothing tells (`timed.monitor.unread`).
        foreign_processes: most processes of others that computed on the card at a time; None where nothing tells.
        foreign_load: share of the machine's CPU cores that others kept busy; None where the round was too short.
        discarded: the round in whose place this one was taken; None where there was none.
    """

    started: str
    fps: float
    readings: int
    machine: Mapping[str, Spread]
    throttled_by: Mapping[str, float]
    foreign_processes: int | None
    foreign_load: float | None
    discarded: DiscardedRound | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """What the clock of an image sees.

    Attributes:
        begins: with what.
        ends: with what.
        outside: what comes before it begins.
    """

    begins: str
    ends: str
    outside: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorValues:
    """How the machine was read while the rounds ran.

    Attributes:
        interval_s: seconds between two readings.
        unread: quantity, or `gpu` for all of the card -> why it could not be read.
    """

    interval_s: float
    unread: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """How the times were taken; all but the first two are None or empty in version 1.

    Attributes:
        images: number of images of a round.
        rounds: number of rounds.
        each: the rounds, in their order.
        note: what has to be said besides the numbers, such as a throttled round; empty where there is nothing.
        clock: what the clock of an image sees.
        warm_up: what ran before the first round.
        monitor: how the machine was read.
        interleaved_with: other runs of the sweep that had a round between two of these; empty where the rounds came
            one after the other, None in records from before runs could be interleaved.
    """

    images: int
    rounds: int
    each: tuple[RoundValues, ...] = ()
    note: str | None = None
    clock: Clock | None = None
    warm_up: WarmUp | None = None
    monitor: MonitorValues | None = None
    interleaved_with: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedValues:
    """The keys of `measured` that the measurement of speed gives.

    Attributes:
        fps: images a second, one at a time: the median of the rounds.
        fps_rounds: the slowest and the quickest round.
        latency_ms: percentiles over all images and rounds.
        phases_ms: medians of the phases.
        timed: how all of this was measured.
    """

    fps: float
    fps_rounds: FpsRange
    latency_ms: Percentiles
    phases_ms: PhasesMs
    timed: Timed
