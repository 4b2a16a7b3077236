"""zoo: re-run the rows of published object-detection model zoos, and diff them against their tables.

    import zoo

    model = zoo.load("mmdet_faster_rcnn_r50_fpn_1x")
    found = model.predict(["image.jpg"])[0]
    found.above(0.5).draw().save("found.png")

Importing this package is cheap; torch is imported by the functions that need it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooError

if TYPE_CHECKING:
    from zoo.models.detectors.base import Detector

    __version__: str

__all__ = ["ZooError", "__version__", "build", "entries", "evaluate", "load"]


def entries() -> list[str]:
    """The names of all entries, sorted."""
    from zoo.catalog.entry import entry_names

    return entry_names()


def build(name: str, overrides: Sequence[str] = (), *, classes: Sequence[str] | None = None) -> Detector:
    """The detector of an entry with fresh weights, in eval mode, on the CPU.

    Args:
        name: an entry, or its name without the zoo.
        overrides: changes to its composition, as on the command line: ["backbone=resnet50"].
        classes: names of the object classes in label order; None for the entry's own.

    Raises:
        UsageError: no such entry, or an override that fits nothing.
    """
    from zoo.config.build import build_model
    from zoo.config.compose import compose

    config = compose(name, overrides)
    return build_model(config, classes or _classes(config)).eval()


def load(
    name: str,
    checkpoint: str | Path | None = None,
    device: str = "cpu",
    *,
    checkpoint_classes: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
) -> Detector:
    """The detector of an entry with its published weights, in eval mode.

    Args:
        name: an entry, or its name without the zoo.
        checkpoint: a file of your own; None fetches the published one and checks its hash.
        device: "cpu", "cuda", "cuda:1" or "auto".
        checkpoint_classes: names of the classes of your own file in label order, where it does not say them itself;
            None for those that it names, or the entry's.
        classes: names of the object classes in label order; None for those of the file. Where they are others, the
            layers that depend on them begin with fresh weights, ready to be trained; that is logged.

    Returns:
        A module with `backbone(images)`, `neck(features)`, `predict(images) -> list of Detections` and
        `classes`, the names that labels stand for. In training mode `model(images, targets)` gives named losses.

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
    detector, _ = load_detector(
        config,
        entry,
        _classes(config),
        stored.path,
        own=stored.is_own,
        own_classes=checkpoint_classes,
        classes=classes,
    )
    return detector.to(target)


def evaluate(
    model: Detector | str,
    root: str | Path,
    *,
    split: str = "val",
    annotations: str | None = None,
    images: str | None = None,
    limit: int | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """COCO's numbers of a model on a folder of data of your own, in AP points.

    Classes are compared by name: those that only the model or only the annotations have are logged, and count in no
    average. The model is evaluated as its zoo does it, and left as it is. Sets PyTorch to true float32.

    Args:
        model: a detector, or the name of an entry, whose published weights are loaded.
        root: the folder, in any layout that docs/your-data.md lists.
        split: "val" or "train".
        annotations: annotation file, relative to the root; None finds it.
        images: folder of images, relative to the root; None finds it.
        limit: number of images, the first by id; None for all.
        workers: processes that decode images; 0 decodes in this one, None leaves it to the device.

    Returns:
        box_AP, box_AP50, box_AP75, box_AP_small, _medium, _large, box_AR_1, _10, _100, _small, _medium, _large, from 0
        to 100; mask_AP and so on for masks, keypoint_AP and so on for keypoints; per_class: {"box_AP": {class name:
        points}}. None where there is no object of that size or class.

    Raises:
        UsageError: the folder does not say what is meant; the message lists what is there.
        DataError: the data is damaged, or has no class that the model knows.
        ZooError: as `load`, where an entry is named.
    """
    from zoo.config.evaluation import evaluate_on_folder

    detector = load(model) if isinstance(model, str) else model
    return evaluate_on_folder(
        detector, Path(root), split=split, annotations=annotations, images=images, limit=limit, workers=workers
    )


def _classes(config: dict[str, Any]) -> list[str]:
    """Names of an entry's object classes, in label order."""
    return list(config["entry"].get("classes") or config["data"]["classes"])


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from zoo.runtime.provenance import zoo_version

        return zoo_version()
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
