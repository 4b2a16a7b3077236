"""Hardware: the fingerprint is complete, its name fits a folder, and a missing device is named."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import pytest
import torch

from zoo.errors import DeviceError
from zoo.runtime.hardware import fingerprint, resolve_device, tf32, use_true_float32


def test_fingerprint_of_the_cpu() -> None:
    use_true_float32()
    found = fingerprint(torch.device("cpu"))
    assert re.fullmatch(r"cpu-[a-z0-9-]+-threads", found.id)
    assert found.gpu is None
    assert found.cpu.usable_cores is not None
    assert found.cpu.usable_cores >= 1
    assert found.software.torch == torch.__version__
    assert found.switches.tf32_convolutions == "ieee"
    assert found.switches.float32_matmul_precision == "highest"
    plain = asdict(found)
    assert json.loads(json.dumps(plain)) == plain


def test_tf32_is_on_inside_a_block_alone() -> None:
    with tf32():
        found = fingerprint(torch.device("cpu")).switches
        assert (found.tf32_convolutions, found.float32_matmul_precision) == ("tf32", "high")
    found = fingerprint(torch.device("cpu")).switches
    assert (found.tf32_convolutions, found.float32_matmul_precision) == ("ieee", "highest")


def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda") == torch.device("cuda", 0)
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(DeviceError, match=r"cuda:2: this machine has 2 GPUs, cuda:0 to cuda:1") as caught:
        resolve_device("cuda:2")
    assert "device=cpu" in caught.value.next_step


def test_auto_takes_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_fingerprint_of_a_gpu() -> None:
    found = fingerprint(torch.device("cuda", 0))
    assert found.gpu is not None
    assert found.gpu.name == torch.cuda.get_device_name(0)
    assert (found.gpu.driver is None) is (found.gpu.nvml is not None)
