"""The findings as JSON and as a Markdown table."""

from __future__ import annotations

import dataclasses
import json
import platform
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpu.lines import Line


class Report:
    """What steps have found so far. Its files are written anew with every line: they are whole whatever ends the check.

    Args:
        about: the machine.
        steps: names of all steps that are to run, in order.
        json: the file for programs; None: none.
        markdown: the file with the table; None: none.

    Attributes:
        found: the lines of each step that has begun.
        seconds: of each step that is at its end.
    """

    def __init__(
        self, about: Mapping[str, Any], steps: Sequence[str], json: Path | None, markdown: Path | None
    ) -> None:
        self.about = about
        self.steps = steps
        self.found: dict[str, list[Line]] = {}
        self.seconds: dict[str, float] = {}
        self._files = {path: write for path, write in ((json, as_json), (markdown, as_markdown)) if path is not None}
        self._lock = threading.Lock()  # several steps may run at once

    def begin(self, step: str, goal: str) -> None:
        """A step begins."""
        with self._lock:
            self.found = {name: self.found.get(name, []) for name in self.steps if name in self.found or name == step}
            print(f"== {step}: {goal}", flush=True)
            self._write()

    def add(self, step: str, line: Line) -> None:
        """A step has found something."""
        with self._lock:
            self.found[step].append(line)
            print(f"{step:<14} {line}", flush=True)
            self._write()

    def end(self, step: str, seconds: float) -> None:
        """A step has come to its end."""
        with self._lock:
            self.seconds[step] = seconds
            self._write()

    @property
    def ended_well(self) -> bool:
        """Whether all steps ran, and nothing failed or was skipped."""
        lines = [line for lines in self.found.values() for line in lines]
        return set(self.seconds) == set(self.steps) and not any(line.status in ("FAIL", "SKIP") for line in lines)

    def __str__(self) -> str:
        return as_markdown(self)

    def _write(self) -> None:
        for path, text in self._files.items():
            part = path.with_name(f".{path.name}.part")
            part.write_text(text(self), encoding="utf-8")
            part.replace(path)


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


def as_json(report: Report) -> str:
    """Everything: the machine, and of each step its lines, and its seconds; null where it is not at its end."""
    steps = {
        name: {
            "seconds": round(report.seconds[name], 1) if name in report.seconds else None,
            "lines": [dataclasses.asdict(line) for line in report.found.get(name, [])],
        }
        for name in report.steps
    }
    return json.dumps({"machine": dict(report.about), "steps": steps}, indent=1) + "\n"


def as_markdown(report: Report) -> str:
    """A table of all lines, under a line about the machine."""
    rows = [", ".join(f"{name} {value}" for name, value in report.about.items()), ""]
    rows += ["| step | what | found | goal | status | note |", "|---|---|---|---|---|---|"]
    for name, lines in report.found.items():
        for line in lines:
            value = "" if line.value is None else f"{line.value:.4g} {line.unit}".strip()
            cells = (name, line.name, value, line.goal, line.status, line.note)
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    took = ", ".join(f"{name} {value:.0f} s" for name, value in report.seconds.items())
    rows += ["", f"{summary(report.found)}. Seconds: {took}."]
    cut_off = [name for name in report.steps if name not in report.seconds]
    if cut_off:
        rows.append(f"Not at their end: {', '.join(cut_off)}.")
    return "\n".join(rows) + "\n"


def summary(found: Mapping[str, Sequence[Line]]) -> str:
    """How many lines ended how."""
    counts = Counter(line.status for lines in found.values() for line in lines)
    return ", ".join(f"{counts[status]} {status}" for status in ("ok", "FAIL", "SKIP", "info") if counts[status])
