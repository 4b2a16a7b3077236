"""Hardware: what a number was measured on, in enough detail to doubt it."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

import psutil
import torch
import torchvision

from zoo.errors import DeviceError

THROTTLE_REASONS = {
    "power_cap": 0x4,
    "hardware_slowdown": 0x8,
    "software_thermal": 0x20,
    "hardware_thermal": 0x40,
    "hardware_power_brake": 0x80,
}
"""Bits of NVML's clock event reasons that mean the card was slower than it can be."""


def resolve_device(name: str) -> torch.device:
    """The device a run asked for; "auto" is the first GPU, or the CPU where there is none.

    Raises:
        DeviceError: a GPU that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type != "cuda":
        return device
    count = torch.cuda.device_count()
    index = device.index or 0
    if index >= count:
        found = f"{count} GPUs, cuda:0 to cuda:{count - 1}" if count else "no GPU that PyTorch can use"
        raise DeviceError(f"device={name}: this machine has {found}", next_step="choose device=cpu or another GPU")
    return torch.device("cuda", index)


def fingerprint(device: torch.device) -> dict[str, Any]:
    """The machine, its software and the switches that change what is measured.

    Returns:
        `id` (a name fit for a folder), `device` ("cpu" or the GPU's name), cpu, gpu (None on a CPU),
        software, switches.
    """
    gpu = _gpu(device) if device.type == "cuda" else None
    cpu = {
        "name": _cpu_name(),
        "physical_cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
    }
    name = gpu["name"] if gpu else f"cpu {cpu['name']} {torch.get_num_threads()} threads"
    return {
        "id": re.sub(r"[^a-z0-9]+", "-", name.lower().replace("(r)", "").replace("(tm)", "")).strip("-"),
        "device": gpu["name"] if gpu else cpu["name"],
        "cpu": cpu,
        "gpu": gpu,
        "software": _software(),
        "switches": {
            "threads": torch.get_num_threads(),
            "tf32_convolutions": torch.backends.cudnn.conv.fp32_precision,  # type: ignore[attr-defined] # made at import time
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
        },
    }


def _software() -> dict[str, Any]:
    cudnn = torch.backends.cudnn.version() if torch.cuda.is_available() else None  # type: ignore[no-untyped-call]
    return {
        "os": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "cuda": torch.version.cuda,
        "cudnn": cudnn,
    }


def _cpu_name() -> str:
    """The processor as it calls itself."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"model name\s*:\s*(.+)", info.read_text())
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def _gpu(device: torch.device) -> dict[str, Any]:
    """Name and memory from PyTorch; driver, clocks, power and throttling from NVML where it answers."""
    properties = torch.cuda.get_device_properties(device)
    gpu: dict[str, Any] = {
        "name": properties.name,
        "memory_bytes": properties.total_memory,
        "compute_capability": f"{properties.major}.{properties.minor}",
    }
    import pynvml

    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{properties.uuid}")
        reasons = pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle)
        gpu |= {
            "driver": pynvml.nvmlSystemGetDriverVersion(),
            "clock_sm_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
            "clock_memory_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM),
            "power_limit_w": pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000,
            "throttled_by": [name for name, bit in THROTTLE_REASONS.items() if reasons & bit],
        }
        pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        gpu["nvml"] = f"not readable: {error}"
    return gpu


def use_true_float32() -> None:
    """Switch TF32 off: published float32 numbers were measured without it."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined] # made at import time
