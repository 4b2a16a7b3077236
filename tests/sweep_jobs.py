"""Jobs of sweeps, and what stands for their processes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from zoo.config.compose import compose
from zoo.sweep import process
from zoo.sweep.job import Job

ENTRY = "shapes_yolov8_p"


def job(**sweep: Any) -> Job:
    overrides = ("results.dir=results", "device=cpu", "batch_size=8", "data.limit=8")
    config = compose(ENTRY, list(overrides))
    config["sweep"] |= sweep
    return Job(config=config, overrides=overrides, run_dir=str(Path("run").absolute()))


def carried_out_by(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let a few lines of Python stand for a job's process; they find the job as `job`."""
    first = "import json, os, signal, subprocess, sys, time; job = json.loads(sys.stdin.readline()); "
    monkeypatch.setattr(process, "COMMAND", (sys.executable, "-c", first + code))
