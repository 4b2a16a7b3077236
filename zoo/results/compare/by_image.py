"""Two runs image by image: their stored detections, evaluated together on the same annotations.

Nothing is downloaded and no network runs: the annotations have to be here, and are known by their sha256.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from zoo.coco_tasks import TASKS
from zoo.errors import DataError
from zoo.fetch.cache import cache_root
from zoo.files import PROJECT
from zoo.measure.coco_eval.paired import Difference, PairedComparison, compare_paired
from zoo.results.cells import rows_as_text
from zoo.results.compare.records import comparison_line
from zoo.results.record import Record
from zoo.results.run_folder import StoredDetections
from zoo.results.stored import DataFinder, score_again
from zoo.terminal import ABSENT

_MOST_SHOWN = 10
"""Classes and images that a table lists; JSON and CSV have all of them."""


def compare_by_image(old: StoredDetections, new: StoredDetections, data: Sequence[Path] = ()) -> list[PairedComparison]:
    """Compare the stored detections of two runs, boxes first, then masks and keypoints where both have them.

    Args:
        old: the earlier run; its folder may lack the detections.
        new: the later one, likewise.
        data: folders of data sets to look for the annotations in, before those that the runs had.

    Raises:
        DataError: something is missing, or is not that of the records; the message says what.
        ZooError: detections lack masks or keypoints, or have numbers that are not finite.
    """
    for run in (old, new):
        if not run.path.is_file():
            raise DataError(f"no {run.path}", next_step="name the folders of two runs")
    if _facts(old.record) != _facts(new.record):
        step = "run both on the same data, with the same data.limit"
        raise DataError("the two are of other images, annotations or classes", next_step=step)
    finder = DataFinder([*data, *(folder for run in (new, old) for folder in _roots(run))])
    before, after = (score_again(run, finder) for run in (old, new))
    kinds = [kind for kind in before.results if kind in after.results]
    truth = before.data.truth
    return [compare_paired(truth, before.detections, after.detections, iou_type=kind) for kind in kinds]


def _facts(record: Record) -> tuple[object, ...]:
    """The images, annotations and classes of a record. Raises DataError where it has no accuracy."""
    classes = record.value("per_class.box_AP")
    if record.data is None or not isinstance(classes, Mapping):
        raise DataError(f"{record.label}: no accuracy was measured", next_step="measure it with measure=accuracy")
    return record.data.annotations_sha256, record.data.images, set(classes)


def _roots(run: StoredDetections) -> Iterator[Path]:
    """Where the data of a run may lie, by its settings: those in its folder name folders of this machine."""
    recorded = run.record.protocol.config.get("data")
    for settings in (_as_composed(run.folder), recorded):
        root = settings.get("root") if isinstance(settings, Mapping) else None
        if root is not None:
            yield from _folders(str(root))


def _as_composed(folder: Path) -> Mapping[str, Any]:
    """The data settings of a run as they were composed; none where its folder has none."""
    try:
        composed = yaml.safe_load((folder / ".hydra" / "config.yaml").read_text(encoding="utf-8"))
        data = composed["data"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return {}
    return data if isinstance(data, Mapping) else {}


def _folders(root: str) -> list[Path]:
    """The folders that a record's root of data may be: it names none outside the cache and the project."""
    if root.startswith("cache:"):
        return [cache_root() / root.removeprefix("cache:")]
    path = Path(root).expanduser()
    return [path] if path.is_absolute() else [path, PROJECT / path]


def by_image_lines(compared: Sequence[PairedComparison]) -> list[dict[str, str]]:
    """Everything that moved, as lines for JSON and CSV."""
    lines = []
    for one in compared:
        prefix = TASKS[one.iou_type].prefix
        for about, changes in (("data set", one.numbers), ("class", one.classes)):
            for change in changes:
                metric, name = (change.name, None) if about == "data set" else ("AP", change.name)
                ends = {"low": change.low, "high": change.high, "resamples": one.resamples}
                numbers = {"old": change.old, "new": change.new, "delta": change.delta}
                lines.append(comparison_line(about, metric=f"{prefix}_{metric}", name=name, **numbers, **ends))
        for image in one.moved:
            numbers = {"old": image.old, "new": image.new, "delta": image.delta}
            lines.append(comparison_line("image", metric=f"{prefix}_AP", name=image.file_name, **numbers))
    return lines


def render_by_image(compared: Sequence[PairedComparison], width: int | None = None) -> str:
    """What moved as text, of classes and images those that moved most.

    Args:
        compared: as `compare_by_image` gives them.
        width: columns of the terminal; None for any, and then the tables are Markdown.
    """
    parts = []
    for one in compared:
        prefix = TASKS[one.iou_type].prefix
        parts.append(
            f"By image ({one.images} images, {prefix} AP; interval: {one.confidence:.0%} of {one.resamples} paired "
            "resamples)"
        )
        parts.append(rows_as_text([_line(change, "metric", f"{prefix}_") for change in one.numbers], width))
        classes = [change for change in one.classes if change.delta]
        parts.append(_headed("classes", len(classes), len(one.classes)))
        parts.append(rows_as_text([_line(change, "class") for change in classes[:_MOST_SHOWN]], width))
        images = [
            {"image": image.file_name, "objects": str(image.objects), "old": _points(image.old)}
            | {"new": _points(image.new), "delta": _points(image.delta, "+")}
            for image in one.moved[:_MOST_SHOWN]
        ]
        parts += [_headed("images", len(one.moved), one.images), rows_as_text(images, width)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _headed(what: str, moved: int, all_of_them: int) -> str:
    most = f", the {_MOST_SHOWN} that moved most:" if moved > _MOST_SHOWN else ":" if moved else ""
    return f"{moved} of {all_of_them} {what} moved{most}"


def _line(change: Difference, heading: str, prefix: str = "") -> dict[str, str]:
    there = change.low is not None and change.high is not None
    return {
        heading: f"{prefix}{change.name}",
        "old": _points(change.old),
        "new": _points(change.new),
        "delta": _points(change.delta, "+"),
        "interval": f"[{_points(change.low)}, {_points(change.high)}]" if there else ABSENT,
    }


def _points(value: float | None, sign: str = "") -> str:
    """AP points with two decimals; of what is exactly 0 the digit alone."""
    return ABSENT if value is None else f"{value:{sign}.2f}" if value else "0"
