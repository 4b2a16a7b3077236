"""What is read of a machine: by a made-up NVML, and of the processor; nothing that cannot be read ends a run."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from zoo.runtime import monitor as module
from zoo.runtime.monitor import CpuProbe, GpuProbe, Monitor, ProbeError, Spread, Watch, gpu_probe
from zoo.runtime.turns import Turn, Turns

OWN = 4321
UUID = "0f1e2d3c-0000-1111-2222-333344445555"


class NVMLError(Exception):
    """As pynvml's, which says what is wrong in words."""


class MadeUpNvml:
    """NVML with one card; names in `refused` raise."""

    NVMLError = NVMLError
    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    def __init__(self, *refused: str, pids: tuple[int, ...] = (OWN,), bits: int = 0) -> None:
        self.refused, self.pids, self.bits = refused, pids, bits
        self.asked: list[str] = []

    def _answer(self, name: str, value: Any) -> Any:
        self.asked.append(name)
        if name in self.refused:
            raise NVMLError("Not Supported")
        return value

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's names
        self._answer("init", None)

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        assert uuid == f"GPU-{UUID}"
        return str(self._answer("handle", "card"))

    def nvmlDeviceGetClockInfo(self, handle: str, kind: int) -> int:  # noqa: N802
        return int(self._answer("clock", {1: 1980, 2: 2619}[kind]))

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:  # noqa: N802
        return int(self._answer("power", 345678))

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:  # noqa: N802
        return int(self._answer("temperature", 41))

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: str) -> int:  # noqa: N802
        return int(self._answer("reasons", self.bits))

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[Any]:  # noqa: N802
        return list(self._answer("processes", [SimpleNamespace(pid=pid) for pid in self.pids]))


def test_a_card_in_its_units() -> None:
    probe = GpuProbe(MadeUpNvml(pids=(OWN, 7, 8)), UUID, OWN)
    assert probe.read() == {
        "sm_clock_mhz": 1980.0,
        "memory_clock_mhz": 2619.0,
        "power_w": 345.678,
        "temperature_c": 41.0,
        "throttle_bits": 0,
        "foreign_processes": 2.0,
    }
    assert probe.unread == {}


def test_what_a_card_does_not_support_is_told_and_not_asked_again() -> None:
    nvml = MadeUpNvml("power", "reasons")
    probe = GpuProbe(nvml, UUID, OWN)
    first, second = probe.read(), probe.read()
    assert first == second == {
        "sm_clock_mhz": 1980.0, "memory_clock_mhz": 2619.0, "temperature_c": 41.0, "foreign_processes": 0.0
    }  # fmt: skip
    assert probe.unread == {"power_w": "NVML: Not Supported", "throttle_bits": "NVML: Not Supported"}
    assert nvml.asked.count("power") == 1


def test_runs_that_wait_for_their_turn_are_not_foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Turns(1)
    own.last = Turn(waiting=(7, 9))
    monkeypatch.setattr(module, "turns", lambda: own)
    assert GpuProbe(MadeUpNvml(pids=(OWN, 7, 8)), UUID, OWN).read()["foreign_processes"] == 1.0


@pytest.mark.parametrize("pids", [(), (1, 2)])
def test_foreign_processes_are_unknown_where_this_one_is_not_among_them(pids: tuple[int, ...]) -> None:
    probe = GpuProbe(MadeUpNvml(pids=pids), UUID, OWN)
    assert "foreign_processes" not in probe.read()
    assert "other numbers than this system" in probe.unread["foreign_processes"]


@pytest.mark.parametrize("refused", ["init", "handle"])
def test_a_card_that_nvml_does_not_know(refused: str) -> None:
    with pytest.raises(ProbeError, match="NVML: Not Supported"):
        GpuProbe(MadeUpNvml(refused), UUID, OWN)


def test_without_the_package_the_description_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    found = Monitor(torch.device("cuda", 0), interval=60.0)
    assert found.unread["gpu"] == "the package nvidia-ml-py is not installed"
    with found.watching() as watch:
        pass
    assert len(watch.readings) == 2, "the processor is read all the same"


def test_the_card_is_found_by_its_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", MadeUpNvml())
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid=UUID))
    assert gpu_probe(torch.device("cuda", 3)).read()["sm_clock_mhz"] == 1980.0


def test_a_watch_reads_at_both_ends_and_between() -> None:
    found = Monitor(torch.device("cpu"), interval=0.01)
    with found.watching() as watch:
        deadline = time.monotonic() + 10
        while len(watch.readings) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(watch.readings) >= 4
    assert watch.seconds > 0
    assert watch.foreign_load is None, "too short to tell"


def test_the_load_is_what_others_did(monkeypatch: pytest.MonkeyPatch) -> None:
    # The machine's seconds less this process's, before and after a block that took a second.
    monkeypatch.setattr(module, "_foreign_seconds", iter([10.0, 11.0]).__next__)
    monkeypatch.setattr(time, "perf_counter", iter([5.0, 6.0]).__next__)
    monkeypatch.setattr(psutil, "cpu_count", lambda: 4)
    with Monitor(torch.device("cpu"), interval=60.0).watching() as watch:
        pass
    assert (watch.seconds, watch.foreign_load) == (1.0, 0.25)


def test_own_seconds_are_not_foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"user": 5.0, "nice": 1.0, "system": 2.0, "idle": 99.0, "guest": 3.0, "steal": 0.5}
    monkeypatch.setattr(psutil, "cpu_times", lambda: SimpleNamespace(**kinds))
    monkeypatch.setattr(time, "process_time", lambda: 4.0)
    assert module._foreign_seconds() == 4.5


def test_readings_become_spreads_and_shares() -> None:
    bits = [0x1, 0x4, 0x4 | 0x20, 0x0]  # idle is no throttling
    watch = Watch(readings=[{"power_w": float(i), "throttle_bits": float(b)} for i, b in enumerate(bits)])
    assert watch.spreads == {"power_w": Spread(lowest=0.0, median=1.5, highest=3.0)}
    assert watch.throttled_by == {"power_cap": 0.5, "software_thermal": 0.25}
    assert watch.foreign_processes is None
    assert Watch().throttled_by == {}


@pytest.mark.parametrize("answer", [None, SimpleNamespace(current=0.0)])
def test_a_clock_that_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    monkeypatch.setattr(psutil, "cpu_freq", lambda: answer)
    probe = CpuProbe()
    assert probe.read() == {}
    assert probe.unread == {"cpu_clock_mhz": "the system does not tell"}


def test_a_clock_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise FileNotFoundError("no such file")

    monkeypatch.setattr(psutil, "cpu_freq", refuse)
    probe = CpuProbe()
    assert probe.read() == {}
    assert probe.unread == {"cpu_clock_mhz": "no such file"}
    monitor = Monitor(torch.device("cpu"), interval=60.0)
    with monitor.watching():
        pass
    assert monitor.unread == {"cpu_clock_mhz": "no such file"}
