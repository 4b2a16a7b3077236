"""Hydra's launchers: how the jobs of a sweep are started, and what each needs to be there."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence

import yaml

from zoo.catalog.entry import conf_dir
from zoo.errors import BlockedError, UsageError, closest

LAUNCHER = "hydra/launcher="

_PLUGINS = {
    "joblib": "hydra_plugins.hydra_joblib_launcher",
    "ray": "hydra_plugins.hydra_ray_launcher",
    "submitit_local": "hydra_plugins.hydra_submitit_launcher",
    "submitit_slurm": "hydra_plugins.hydra_submitit_launcher",
}
"""Launcher of a plug-in -> its module."""

_SCHEDULERS = {"submitit_slurm": "sbatch"}
"""Launcher -> the program that it hands its jobs to."""


def launchers_of(arguments: Sequence[str]) -> list[str]:
    """The launchers that a command line names."""
    return [argument.removeprefix(LAUNCHER) for argument in arguments if argument.startswith(LAUNCHER)]


def check_launcher(arguments: Sequence[str]) -> None:
    """Check that the launcher of a command line, where it names one, can start a job here.

    Raises:
        UsageError: there is no such launcher.
        BlockedError: its plug-in is not installed, or its scheduler is not on this machine.
    """
    for name in launchers_of(arguments):
        own = {path.stem: path for path in sorted((conf_dir() / "hydra" / "launcher").glob("*.yaml"))}
        if name not in {*_PLUGINS, *own, "basic"}:
            near = closest(name, [*_PLUGINS, *own, "basic"])
            raise UsageError(f"no launcher {name!r} ({near})", next_step=f"choose {', '.join([*own, 'ray'])}")
        written = yaml.safe_load(own[name].read_text(encoding="utf-8")) if name in own else {}
        base = written.get("defaults", [name])[0]
        plugin = _PLUGINS.get(base)
        if plugin and not _is_installed(plugin):
            step = "make setup EXTRAS=cluster" if base == "ray" else "uv pip install 'zoo-bench[launchers]'"
            step = f"install it: {step}, or leave hydra/launcher out"
            raise BlockedError(f"{LAUNCHER}{name}: its plug-in {plugin.rpartition('.')[2]} is missing", next_step=step)
        program = _SCHEDULERS.get(base)
        if program and shutil.which(program) is None:
            step = "start the sweep on a machine of the cluster, or use hydra/launcher=processes"
            raise BlockedError(f"{LAUNCHER}{name}: there is no {program} on this machine", next_step=step)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
