"""zoo: re-run the rows of published object-detection model zoos, and diff them against their tables.

    import zoo

    model = zoo.load("mmdet_faster_rcnn_r50_fpn_1x")
    detections = model.predict(["image.jpg"])[0]

Importing this package is cheap; torch is imported by the functions that need it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.models.detectors.base import Detector

__all__ = ["build", "entries", "load"]


def entries() -> list[str]:
    """The names of all entries, sorted."""
    from zoo.catalog.entry import entry_names

    return entry_names()


def build(name: str, overrides: Sequence[str] = ()) -> Detector:
    """The detector of an entry with fresh weights, in eval mode, on the CPU.

    Args:
        name: an entry, or its name without the zoo.
        overrides: changes to its composition, as on the command line: ["backbone=resnet50"].

    Raises:
        UsageError: no such entry, or an override that fits nothing.
    """
    from zoo.config.build import build_model
    from zoo.config.compose import compose

    config = compose(name, overrides)
    return build_model(config, _classes(config)).eval()


def load(name: str, checkpoint: str | Path | None = None, device: str = "cpu") -> Detector:
    """The detector of an entry with its published weights, in eval mode.

    Args:
        name: an entry, or its name without the zoo.
        checkpoint: a file of your own; None fetches the published one and checks its hash.
        device: "cpu", "cuda", "cuda:1" or "auto".

    Returns:
        A module with `backbone(images)`, `neck(features)`, `predict(images) -> list of Detections` and
        `classes`, the names that labels stand for.

    Raises:
        UsageError: no such entry.
        DownloadError, HashMismatchError, CheckpointError: the file cannot be had, is another, or is damaged.
        ConversionError: the file belongs to another model.
        DeviceError: the device is not there.
    """
    from zoo.catalog.entry import read_entry, resolve
    from zoo.checkpoints.fetch_checkpoint import fetch_checkpoint
    from zoo.config.build import load_detector
    from zoo.config.compose import compose
    from zoo.results.ledger import results_dir
    from zoo.runtime.hardware import resolve_device

    target = resolve_device(device)
    entry = read_entry(resolve(name)[0])
    config = compose(entry.name)
    stored = fetch_checkpoint(entry.checkpoint, results_dir(), path=None if checkpoint is None else Path(checkpoint))
    detector, _ = load_detector(config, entry, _classes(config), stored.path, own=stored.is_own)
    return detector.to(target)


def _classes(config: dict[str, Any]) -> list[str]:
    """Names of an entry's object classes, in label order."""
    return list(config["entry"].get("classes") or config["data"]["classes"])
