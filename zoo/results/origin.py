"""What a number was computed by: the code of a measurement, and the libraries that it stands on.

The code is everything of this package that the measurement imports, with the parts that the row is composed of and the
reader and the key map of its checkpoint. What only finds, fetches, files or shows things is left out: bytes are known
by their hashes. Of the conductor only its own files count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from zoo.runtime.syntax import code_hash, import_closure

ENVIRONMENT: Mapping[str, tuple[str, ...]] = {
    "torch": ("torch",),
    "torchvision": ("torchvision",),
    "numpy": ("numpy",),
    "opencv": ("opencv-python-headless", "opencv-python"),
    "pycocotools": ("pycocotools",),
}
"""Library -> the distributions that may have it."""

_WITHOUT = ("bench", "catalog.published", "cli", "commands", "console", "fetch", "front_door", "results", "terminal")
_CONDUCTOR = ("zoo.pipeline", "zoo.config.weights", "zoo.runtime.seeding")
_BUILDERS = ("zoo.config.build", "zoo.runtime.hardware")
_TRAINING = ("zoo.train.training", "zoo.train.initial")


def code_files(name: str, config: Mapping[str, Any]) -> Mapping[str, Path]:
    """The modules that a measurement's numbers come from, with their files.

    Args:
        name: of the measurement.
        config: composed configuration of the run.
    """
    roots = [f"zoo.measure.{name}", *_BUILDERS, *_reading(config), *_targets(config, training=False)]
    if (config.get("run") or {}).get("name") == "train":
        roots += [*_TRAINING, *_targets(config, training=True)]
    return import_closure(roots, without=[f"zoo.{module}" for module in _WITHOUT], alone=_CONDUCTOR)


def code_of(name: str, config: Mapping[str, Any]) -> str:
    """The hash of these files' syntax trees, lower-case hex; see `zoo.runtime.syntax`. Arguments as of `code_files`."""
    return code_hash(code_files(name, config).values())


@cache
def environment() -> Mapping[str, str]:
    """The libraries that numbers depend on, with their versions, without importing them; "none" where one is absent."""
    return {library: _version(distributions) for library, distributions in ENVIRONMENT.items()}


def _version(distributions: tuple[str, ...]) -> str:
    for distribution in distributions:
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return "none"


def _reading(config: Mapping[str, Any]) -> Iterator[str]:
    """The modules that read the row's checkpoint; a row that is made up for a test may have none."""
    checkpoint = (config.get("entry") or {}).get("checkpoint") or {}
    for folder, key in (("keymaps", "keymap"), ("readers", "format")):
        if key in checkpoint:
            yield f"zoo.checkpoints.{folder}.{checkpoint[key]}"


def _targets(node: Any, *, training: bool) -> Iterator[str]:
    """The classes that a configuration names; the recipe's only where the model is trained."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "_target_":
                yield str(value)
            elif training or key != "schedule":
                yield from _targets(value, training=training)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _targets(value, training=training)
