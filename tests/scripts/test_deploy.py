"""What runs sweeps elsewhere: its numbers are the catalogue's, and its commands exist.

Both files were held against the published schemas of Kubernetes 1.31 and 1.37 and of SkyPilot 0.14.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from zoo.catalog.entry import entry_names
from zoo.commands.runs import run_arguments
from zoo.config.overrides import check

DEPLOY = Path(__file__).resolve().parents[2] / "scripts" / "deploy"


def loaded(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def runs(script: str) -> list[list[str]]:
    """The arguments of every `zoo run` of a shell script."""
    lines = script.replace("\\\n", " ").splitlines()
    found = [line.partition("zoo run ")[2] for line in lines if "zoo run " in line]
    return [re.findall(r'(?:[^\s"]|"[^"]*")+', line.replace("'", "")) for line in found]


def with_values(arguments: list[str], values: dict[str, str]) -> list[str]:
    shown = [argument.replace('"', "") for argument in arguments]
    return [re.sub(r"\$\{?(\w+)\}?", lambda found: values[found[1]], argument) for argument in shown]


def test_a_pod_for_each_row() -> None:
    job = loaded("kubernetes.yaml")["spec"]
    (container,) = job["template"]["spec"]["containers"]
    (zoo,) = [variable["value"] for variable in container["env"] if variable["name"] == "ZOO"]
    assert job["completions"] == sum(name.startswith(f"{zoo}_") for name in entry_names())
    assert f"completions: {job['completions']}/completions" in (DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")
    (arguments,) = runs(container["args"][0])
    check(run_arguments(with_values(arguments, {"entry": "mmdet_faster_rcnn_r50_fpn_1x"})))


def test_a_sweep_on_a_machine_of_a_cloud() -> None:
    task = loaded("skypilot.yaml")
    (arguments,) = runs(task["run"])
    values = {**task["envs"], "SKYPILOT_NUM_GPUS_PER_NODE": "8", "gpus": "0,1"}
    checked = check(run_arguments(with_values(arguments, values)))
    assert checked.sweep_dir is not None
    assert "/results" in task["file_mounts"]
