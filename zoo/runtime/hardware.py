"""Hardware: what a number was measured on, in enough detail to doubt it.

torch is imported by the functions that need it: records name hardware, and are read without torch.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from zoo.errors import DeviceError
from zoo.schema import Pattern
from zoo.types import Mode

if TYPE_CHECKING:
    import torch

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
    import torch

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


def refuse_mode(mode: Mode, kind: str) -> None:
    """Look whether a kind of device can run a network in a mode.

    Args:
        mode: as a run asks for it.
        kind: "cpu" or "cuda".

    Raises:
        DeviceError: it cannot.
    """
    if mode == "graph" and kind != "cuda":
        raise DeviceError(f"mode=graph: {kind} has no CUDA graphs", next_step="use device=cuda, or mode=eager")


@dataclass(slots=True, kw_only=True)
class Cpu:
    """A processor.

    Attributes:
        name: what it calls itself.
        physical_cores: cores; None where the system does not tell.
        logical_cores: hardware threads; None likewise.
        usable_cores: hardware threads that this process may run on.
        memory_bytes: memory of the machine.
    """

    name: str
    physical_cores: int | None
    logical_cores: int | None
    usable_cores: int | None
    memory_bytes: int


@dataclass(slots=True, kw_only=True)
class Gpu:
    """A graphics card; what NVML says of it is None where NVML does not answer.

    Attributes:
        name: model.
        memory_bytes: memory.
        compute_capability: version of its instruction set, such as "9.0".
        driver: version of the driver.
        clock_sm_mhz: clock of its processors when the run began.
        clock_memory_mhz: clock of its memory when the run began.
        power_limit_w: watts that it may draw.
        throttled_by: names of `THROTTLE_REASONS` that held it back when the run began.
        nvml: why NVML did not answer.
    """

    name: str
    memory_bytes: int
    compute_capability: str
    driver: str | None = None
    clock_sm_mhz: int | None = None
    clock_memory_mhz: int | None = None
    power_limit_w: float | None = None
    throttled_by: list[str] = field(default_factory=list)
    nvml: str | None = None


@dataclass(slots=True, kw_only=True)
class Software:
    """Versions that a number may depend on.

    Attributes:
        os: operating system and kernel.
        python: Python.
        torch: PyTorch, with the build that it is.
        torchvision: likewise.
        cuda: CUDA that PyTorch was built for; None for a build without.
        cudnn: cuDNN that is in use; None without a GPU.
    """

    os: str
    python: str
    torch: str
    torchvision: str
    cuda: str | None = None
    cudnn: int | None = None


@dataclass(slots=True, kw_only=True)
class Switches:
    """Settings of PyTorch that change numbers or speed.

    Attributes:
        threads: CPU threads of one operation.
        tf32_convolutions: precision of cuDNN's float32 convolutions.
        float32_matmul_precision: precision of float32 matrix products.
        cudnn_benchmark: whether cuDNN tries its algorithms first.
    """

    threads: int
    tf32_convolutions: str
    float32_matmul_precision: str
    cudnn_benchmark: bool


@dataclass(slots=True, kw_only=True)
class Hardware:
    """The machine of a run.

    Attributes:
        id: name fit for a folder.
        device: name of the processor or the card that was measured on.
        cpu: processor.
        gpu: card; None on a CPU.
        software: versions.
        switches: settings of PyTorch.
    """

    id: Annotated[str, Pattern(r"[A-Za-z0-9][A-Za-z0-9._-]*", "a name fit for a folder")]
    device: str
    cpu: Cpu
    gpu: Gpu | None
    software: Software
    switches: Switches

    @property
    def kind(self) -> str:
        """The kind of device that is measured on: "cpu" or "cuda"."""
        return "cpu" if self.gpu is None else "cuda"


def usable_cores() -> int:
    """The logical cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fingerprint(device: torch.device) -> Hardware:
    """The machine, its software and the switches that change what is measured."""
    import psutil
    import torch

    gpu = _gpu(device) if device.type == "cuda" else None
    cpu = Cpu(
        name=_cpu_name(),
        physical_cores=psutil.cpu_count(logical=False),
        logical_cores=psutil.cpu_count(),
        usable_cores=usable_cores(),
        memory_bytes=psutil.virtual_memory().total,
    )
    name = gpu.name if gpu else f"cpu {cpu.name} {torch.get_num_threads()} threads"
    return Hardware(
        id=re.sub(r"[^a-z0-9]+", "-", name.lower().replace("(r)", "").replace("(tm)", "")).strip("-"),
        device=gpu.name if gpu else cpu.name,
        cpu=cpu,
        gpu=gpu,
        software=_software(),
        switches=Switches(
            threads=torch.get_num_threads(),
            tf32_convolutions=torch.backends.cudnn.conv.fp32_precision,  # type: ignore[attr-defined] # made at import time
            float32_matmul_precision=torch.get_float32_matmul_precision(),
            cudnn_benchmark=torch.backends.cudnn.benchmark,
        ),
    )


def is_here(hardware: Hardware) -> bool:
    """Whether a record's machine is, by the names of its processor and its card, this one. Imports no torch."""
    return hardware.cpu.name == _cpu_name() and (hardware.gpu is None or hardware.gpu.name in _card_names())


@cache
def _card_names() -> tuple[str, ...]:
    """The graphics cards of this machine, as NVML names them; none where it does not answer."""
    try:
        import pynvml
    except ImportError:
        return ()
    try:
        pynvml.nvmlInit()
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        names = tuple(map(pynvml.nvmlDeviceGetName, handles))
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return ()
    return names


def _software() -> Software:
    import torch
    import torchvision

    cudnn = torch.backends.cudnn.version() if torch.cuda.is_available() else None  # type: ignore[no-untyped-call]
    return Software(
        os=platform.platform(),
        python=platform.python_version(),
        torch=torch.__version__,
        torchvision=torchvision.__version__,
        cuda=torch.version.cuda,
        cudnn=cudnn,
    )


def _cpu_name() -> str:
    """The processor as it calls itself."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"model name\s*:\s*(.+)", info.read_text())
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def _gpu(device: torch.device) -> Gpu:
    """Name and memory from PyTorch; driver, clocks, power and throttling from NVML where it answers."""
    import torch

    properties = torch.cuda.get_device_properties(device)
    return Gpu(
        name=properties.name,
        memory_bytes=properties.total_memory,
        compute_capability=f"{properties.major}.{properties.minor}",
        **_nvml(str(properties.uuid)),
    )


def _nvml(uuid: str) -> dict[str, Any]:
    """What NVML says of a card, as the fields of `Gpu`; why not where it does not answer."""
    try:
        import pynvml
    except ImportError:
        return {"nvml": "not readable: the package nvidia-ml-py is not installed"}
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        reasons = pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle)
        found = {
            "driver": pynvml.nvmlSystemGetDriverVersion(),
            "clock_sm_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
            "clock_memory_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM),
            "power_limit_w": pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000,
            "throttled_by": [name for name, bit in THROTTLE_REASONS.items() if reasons & bit],
        }
        pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        return {"nvml": f"not readable: {error}"}
    return found


@contextmanager
def tf32() -> Iterator[None]:
    """Run the block with TF32 on: products of float32 with mantissas of 10 bits, PyTorch's default of convolutions."""
    import torch

    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.conv.fp32_precision = "tf32"  # type: ignore[attr-defined] # made at import time
    try:
        yield
    finally:
        use_true_float32()


def use_true_float32() -> None:
    """Switch TF32 off: published float32 numbers were measured without it."""
    import torch

    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined] # made at import time
