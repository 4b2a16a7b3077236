"""Which packages the steps need, and which are missing here."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

MODULES = {
    "hydra-core": "hydra",
    "nvidia-ml-py": "pynvml",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pyyaml": "yaml",
}
"""Package -> the module it is imported by, where the names differ."""


def runtime_packages() -> tuple[str, ...]:
    """The packages that zoo depends on, as pyproject.toml names them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return tuple(_name(requirement) for requirement in project["dependencies"])


def missing(packages: Iterable[str]) -> list[str]:
    """Those packages that cannot be imported here, sorted."""
    return sorted(name for name in set(packages) if find_spec(MODULES.get(name, name.replace("-", "_"))) is None)


def _name(requirement: str) -> str:
    return requirement.partition(">")[0].partition("=")[0].partition("<")[0].strip()
