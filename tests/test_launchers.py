"""One sweep by every engine: the same numbers to the last digit."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.nightly, pytest.mark.long]

ENTRIES = ("shapes_retinanet_r10_fpn", "shapes_yolov8_p", "shapes_mask_rcnn_r10_fpn")
LAUNCHERS = {
    "basic": [],
    "processes": ["hydra/launcher=processes"],
    "submitit": ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=30"],
    "ray": ["hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2"],
}


def swept(folder: Path, arguments: list[str]) -> dict[str, Any]:
    """Entry -> accuracy and complexity, by a sweep of its own process."""
    what = [f"entry={','.join(ENTRIES)}", "data.limit=3", "measure=[accuracy,complexity]", "device=cpu"]
    done = subprocess.run(
        [sys.executable, "-m", "zoo.bench", "--multirun", *what, *arguments, "results.dir=results"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"{len(ENTRIES)} of {len(ENTRIES)} measured" in done.stdout
    records = [json.loads(path.read_text(encoding="utf-8")) for path in (folder / "results").rglob("*.json")]
    return {record["entry"]: record["measured"] for record in records}


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return swept(tmp_path_factory.mktemp("basic"), LAUNCHERS["basic"])


@pytest.mark.parametrize("launcher", ["processes", "submitit", "ray"])
def test_an_engine_changes_no_number(launcher: str, one_by_one: dict[str, Any], tmp_path: Path) -> None:
    if launcher == "ray" and importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: make setup EXTRAS=cluster")
    assert set(one_by_one) == set(ENTRIES)
    assert swept(tmp_path, LAUNCHERS[launcher]) == one_by_one
