"""What a machine did while something was timed: clocks, power, temperature, throttling, and what others ran on it.

A thread reads the card by NVML and the processor by the system. What cannot be read is said with its reason, and never
ends a run.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from zoo.runtime.hardware import THROTTLE_REASONS
from zoo.runtime.turns import turns

if TYPE_CHECKING:
    import torch

INTERVAL = 0.5
"""Seconds between two readings."""

SHORTEST_LOAD = 0.2
"""Seconds that a watch takes at least before its load is told: the system counts in hundredths."""

_THROTTLE_BITS = "throttle_bits"
_FOREIGN = "foreign_processes"


class Probe(Protocol):
    """What is read from one part of the machine.

    Attributes:
        unread: quantity -> why it cannot be read; what is in it is not asked for again.
    """

    unread: dict[str, str]

    def read(self) -> dict[str, float]:
        """The present value of each quantity that can be read."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The readings of one quantity.

    Attributes:
        lowest: least of them.
        median: middle one.
        highest: greatest of them.
    """

    lowest: float
    median: float
    highest: float


@dataclass(slots=True, kw_only=True)
class Watch:
    """What was read while a block ran.

    Attributes:
        readings: quantity -> value, in the order of time.
        seconds: duration of the block.
        foreign_load: share of the machine's CPU cores that other processes kept busy meanwhile, on average; None where
            the block was too short to tell.
    """

    readings: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    foreign_load: float | None = None

    @property
    def spreads(self) -> dict[str, Spread]:
        """The readings of each quantity, without what counts something."""
        names = dict.fromkeys(name for reading in self.readings for name in reading)
        return {name: _spread(self._of(name)) for name in names if name not in (_THROTTLE_BITS, _FOREIGN)}

    @property
    def throttled_by(self) -> dict[str, float]:
        """What held the card back (see `THROTTLE_REASONS`) -> share of the readings that say so."""
        bits = [int(value) for value in self._of(_THROTTLE_BITS)]
        shares = {name: sum(bool(value & bit) for value in bits) / len(bits or [0]) for name, bit in _REASONS}
        return {name: share for name, share in shares.items() if share}

    @property
    def foreign_processes(self) -> int | None:
        """The most processes of others that computed on the card at a time; None where that cannot be known."""
        found = self._of(_FOREIGN)
        return int(max(found)) if found else None

    def _of(self, name: str) -> list[float]:
        return [reading[name] for reading in self.readings if name in reading]


_REASONS = tuple(THROTTLE_REASONS.items())


def _spread(values: Sequence[float]) -> Spread:
    return Spread(lowest=min(values), median=float(statistics.median(values)), highest=max(values))


class Monitor:
    """Reads a machine while blocks run.

    Args:
        device: that works; of a card NVML is asked besides.
        interval: seconds between two readings; there is always one at each end of a block.
    """

    def __init__(self, device: torch.device, interval: float = INTERVAL) -> None:
        self.interval = interval
        self._unread: dict[str, str] = {}
        self._probes: list[Probe] = [CpuProbe()]
        if device.type == "cuda":
            try:
                self._probes.append(gpu_probe(device))
            except ProbeError as error:
                self._unread["gpu"] = str(error)

    @property
    def unread(self) -> dict[str, str]:
        """Quantity, or "gpu" for all of the card -> why it could not be read."""
        return {
            name: reason
            for found in (self._unread, *(probe.unread for probe in self._probes))
            for name, reason in found.items()
        }

    @contextmanager
    def watching(self) -> Iterator[Watch]:
        """Read at the beginning of the block, every `interval` seconds, and at its end; the watch is whole after it."""
        watch, ended = Watch(), threading.Event()

        def keep_reading() -> None:
            while not ended.wait(self.interval):
                watch.readings.append(self._read())

        watch.readings.append(self._read())
        thread = threading.Thread(target=keep_reading, name="monitor", daemon=True)
        begun, busy = time.perf_counter(), _foreign_seconds()
        thread.start()
        try:
            yield watch
        finally:
            watch.seconds = time.perf_counter() - begun
            others = _foreign_seconds() - busy
            ended.set()
            thread.join()
            watch.readings.append(self._read())
            if watch.seconds >= SHORTEST_LOAD:
                watch.foreign_load = max(0.0, others / watch.seconds / _cores())

    def _read(self) -> dict[str, float]:
        reading: dict[str, float] = {}
        for probe in self._probes:
            reading |= probe.read()
        return reading


class ProbeError(Exception):
    """A part of the machine that cannot be read at all, and why."""


class CpuProbe:
    """The clock of the processor, the mean of its cores. Its load is of a whole block: see `Watch.foreign_load`."""

    def __init__(self) -> None:
        self.unread: dict[str, str] = {}

    def read(self) -> dict[str, float]:
        """The clock in MHz; nothing where the system does not tell."""
        import psutil

        if self.unread:
            return {}
        try:
            found = psutil.cpu_freq()
        except (OSError, NotImplementedError, RuntimeError) as error:
            found, reason = None, str(error)
        else:
            reason = "the system does not tell"
        if found is None or not found.current:
            self.unread["cpu_clock_mhz"] = reason
            return {}
        return {"cpu_clock_mhz": float(found.current)}


def _foreign_seconds() -> float:
    """CPU seconds that others than this process have used since the machine began; in a container of the whole host."""
    import psutil

    times = psutil.cpu_times()
    # Time of guests is counted as user's already; stolen time is that of another guest of the same host.
    kinds = ("user", "nice", "system", "irq", "softirq", "steal")
    return sum(getattr(times, kind, 0.0) for kind in kinds) - time.process_time()


def _cores() -> int:
    """The cores whose seconds `_foreign_seconds` counts."""
    import psutil

    return psutil.cpu_count() or 1


def gpu_probe(device: torch.device) -> GpuProbe:
    """The probe of a card, which NVML finds by its UUID: its own numbers know nothing of CUDA_VISIBLE_DEVICES.

    Raises:
        ProbeError: NVML's package or the driver is not there, or it does not know the card.
    """
    import os

    import torch

    try:
        import pynvml
    except ImportError:
        raise ProbeError("the package nvidia-ml-py is not installed") from None
    uuid = str(torch.cuda.get_device_properties(device).uuid)
    return GpuProbe(pynvml, uuid, os.getpid())


class GpuProbe:
    """A card by NVML, which stays open until the process ends.

    Args:
        nvml: the module `pynvml`.
        uuid: of the card, as PyTorch has it.
        pid: of this process; others that compute on the card are foreign, but for those that wait for their turn.

    Raises:
        ProbeError: NVML does not answer, or does not know the card.
    """

    def __init__(self, nvml: Any, uuid: str, pid: int) -> None:
        self.unread: dict[str, str] = {}
        self._nvml, self._pid = nvml, pid
        try:
            nvml.nvmlInit()
            self._handle = nvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
        except nvml.NVMLError as error:
            raise ProbeError(f"NVML: {error}") from None
        self._readers: Mapping[str, Callable[[], float | None]] = {
            "sm_clock_mhz": lambda: float(nvml.nvmlDeviceGetClockInfo(self._handle, nvml.NVML_CLOCK_SM)),
            "memory_clock_mhz": lambda: float(nvml.nvmlDeviceGetClockInfo(self._handle, nvml.NVML_CLOCK_MEM)),
            "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(self._handle) / 1000,  # milliwatts
            "temperature_c": lambda: float(nvml.nvmlDeviceGetTemperature(self._handle, nvml.NVML_TEMPERATURE_GPU)),
            _THROTTLE_BITS: lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(self._handle),
            _FOREIGN: self._foreign_processes,
        }

    def read(self) -> dict[str, float]:
        """Clocks, power, temperature, NVML's bits of clock event reasons, and the number of foreign processes."""
        found = {}
        for name, reader in self._readers.items():
            if name in self.unread:
                continue
            try:
                value = reader()
            except self._nvml.NVMLError as error:
                self.unread[name] = f"NVML: {error}"
                continue
            if value is not None:
                found[name] = value
        return found

    def _foreign_processes(self) -> float | None:
        """How many others compute on the card; None where this process is not among them, as behind a container."""
        pids = {process.pid for process in self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)}
        if self._pid not in pids:
            self.unread[_FOREIGN] = "NVML knows processes by other numbers than this system, or does not see them"
            return None
        return float(len(pids - {self._pid, *turns().last.waiting}))
