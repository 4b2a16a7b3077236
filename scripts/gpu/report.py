"""The findings as JSON and as a Markdown table."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any

from gpu.lines import Line


def machine(device: str) -> dict[str, Any]:
    """Card, driver, versions and date, as far as what is installed tells."""
    found: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "device": device,
        "python": platform.python_version(),
    }
    if find_spec("torch") is None:
        return found
    import torch

    found["torch"] = torch.__version__
    if find_spec("torchvision") is not None:
        import torchvision

        found["torchvision"] = torchvision.__version__
    if device != "cpu":
        found |= {
            "card": torch.cuda.get_device_name(0),
            "driver": _driver(),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        }
    return found


def _driver() -> str | None:
    """The driver's version; None where NVML does not answer."""
    if find_spec("pynvml") is None:
        return None
    import pynvml

    try:
        pynvml.nvmlInit()
        version = pynvml.nvmlSystemGetDriverVersion()
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return None
    return version.decode() if isinstance(version, bytes) else str(version)


def as_json(about: Mapping[str, Any], found: Mapping[str, Sequence[Line]], seconds: Mapping[str, float]) -> str:
    """Everything: the machine, and of each step its seconds and its lines."""
    steps = {
        name: {"seconds": round(seconds[name], 1), "lines": [dataclasses.asdict(line) for line in lines]}
        for name, lines in found.items()
    }
    return json.dumps({"machine": dict(about), "steps": steps}, indent=1) + "\n"


def as_markdown(about: Mapping[str, Any], found: Mapping[str, Sequence[Line]], seconds: Mapping[str, float]) -> str:
    """A table of all lines, under a line about the machine."""
    rows = [", ".join(f"{name} {value}" for name, value in about.items()), ""]
    rows += ["| step | what | found | goal | status | note |", "|---|---|---|---|---|---|"]
    for name, lines in found.items():
        for line in lines:
            value = "" if line.value is None else f"{line.value:.4g} {line.unit}".strip()
            cells = (name, line.name, value, line.goal, line.status, line.note)
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    took = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    return "\n".join([*rows, "", f"{summary(found)}. Seconds: {took}."]) + "\n"


def summary(found: Mapping[str, Sequence[Line]]) -> str:
    """How many lines ended how."""
    counts = Counter(line.status for lines in found.values() for line in lines)
    return ", ".join(f"{counts[status]} {status}" for status in ("ok", "FAIL", "SKIP", "info") if counts[status])
