"""Runs of a sweep on one device."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from zoo.errors import DeviceError
from zoo.runtime.device_use import SWEEP_DEVICES, use_of
from zoo.runtime.distributed import DistributedContext

CPU = torch.device("cpu")

OTHER = """
import sys, torch
from zoo.runtime.device_use import use_of
from zoo.runtime.distributed import DistributedContext
with use_of(torch.device("cpu"), DistributedContext()):
    print("on it", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWEEP_DEVICES, str(tmp_path))


def other_run() -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.usefixtures("sweep")
def test_alone_or_not() -> None:
    with use_of(CPU, DistributedContext()) as use:
        with use.alone(True):
            pass
        with other_run() as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "on it\n"
            with use.alone(False):
                pass
            with pytest.raises(DeviceError, match="1 other runs of the sweep were on the device"), use.alone(True):
                pass
            other.kill()  # and what it held is free
            other.wait()
            with use.alone(True):
                pass


@pytest.mark.usefixtures("sweep")
def test_who_begins_waits_for_who_is_alone() -> None:
    with use_of(CPU, DistributedContext()) as use:
        with use.alone(True):
            other = other_run()
            with pytest.raises(subprocess.TimeoutExpired):
                other.communicate("\n", timeout=5)
        assert other.communicate(timeout=60)[0] == "on it\n"


@pytest.mark.usefixtures("sweep")
def test_further_processes_of_a_run_are_no_other_run() -> None:
    with (
        use_of(CPU, DistributedContext(rank=0, world_size=2)) as use,
        use_of(CPU, DistributedContext(rank=1, world_size=2)),
        use.alone(True),
    ):
        pass


def test_without_a_sweep_nobody_is_asked(tmp_path: Path) -> None:
    with use_of(CPU, DistributedContext()) as use, use.alone(True):
        assert list(tmp_path.iterdir()) == []
