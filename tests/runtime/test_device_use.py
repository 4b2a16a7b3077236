"""Runs of a sweep on one device."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from zoo.errors import DeviceError
from zoo.runtime.device_use import SHARED_DEVICE, alone, using

OTHER = """
import sys
from pathlib import Path
from zoo.runtime.device_use import using
with using(Path(sys.argv[1])):
    print("on it", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(SHARED_DEVICE, str(tmp_path))
    return tmp_path


def other_run(device: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", OTHER, str(device)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_alone_or_not(device: Path) -> None:
    with using(device):
        with alone(True):
            pass
        with other_run(device) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "on it\n"
            with alone(False):
                pass
            with pytest.raises(DeviceError, match=r"other runs of the sweep were on the device \(1\)"), alone(True):
                pass
            other.kill()  # and what it held is free
            other.wait()
            with alone(True):
                pass


def test_who_begins_waits_for_who_is_alone(device: Path) -> None:
    with using(device):
        with alone(True):
            other = other_run(device)
            with pytest.raises(subprocess.TimeoutExpired):
                other.communicate("\n", timeout=2)
        assert other.communicate(timeout=60)[0] == "on it\n"


def test_without_a_sweep_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SHARED_DEVICE, raising=False)
    with using(tmp_path), using(tmp_path), alone(True):
        pass
