"""Two runs image by image: their stored detections, evaluated together on the same annotations.

Nothing is downloaded and no network runs: the annotations have to be here, and are known by their sha256.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from zoo.data.coco import CocoGroundTruth
from zoo.data.coco2014 import EQUIVALENT
from zoo.data.dataset import local_root
from zoo.data.folder import find_annotations
from zoo.errors import DataError
from zoo.fetch.cache import cache_root
from zoo.files import PROJECT
from zoo.measure.coco_eval import PREFIXES
from zoo.measure.coco_eval.evaluate import DetectionColumns
from zoo.measure.coco_eval.paired import Difference, PairedComparison, compare_paired
from zoo.measure.coco_eval.summary import Rounding
from zoo.measure.score.rescore import StoredRun, measured_types
from zoo.measure.score.results_file import read_predictions
from zoo.results.cells import number_text, rows_as_text
from zoo.results.compare.records import comparison_line
from zoo.results.record import Record
from zoo.results.trials import accuracy_of
from zoo.terminal import ABSENT

PREDICTIONS = "predictions.json"

_MOST_SHOWN = 10
"""Classes and images that a table lists; JSON and CSV have all of them."""

_EQUAL = 1e-6
"""AP points up to which stored detections give the numbers of their record: the last bits may be the machine's."""

_NAME_DATA = "name the annotations with --data FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class FiledRun:
    """A record and the folder that it lies in.

    Attributes:
        record: the record.
        folder: the folder, of a run with its detections.
    """

    record: Record
    folder: Path


def compare_by_image(old: FiledRun, new: FiledRun, data: Path | None = None) -> list[PairedComparison]:
    """Compare the stored detections of two runs, boxes first, then masks where both have them.

    Args:
        old: the earlier run.
        new: the later one.
        data: annotation file of both, or a folder that has it; None looks where the records say.

    Raises:
        DataError: something is missing, or is not that of the records; the message says what.
    """
    for run in (old, new):
        if not (run.folder / PREDICTIONS).is_file():
            raise DataError(f"no {run.folder / PREDICTIONS}", next_step="name the folders of two runs")
    _refuse_other_data(old.record, new.record)
    truth = _annotations(old, new, data)
    columns = [_detections(run, truth) for run in (old, new)]
    types = [kind for kind in measured_types(old.record.measured) if kind in measured_types(new.record.measured)]
    return [compare_paired(truth, *columns, iou_type=kind) for kind in types]


def _refuse_other_data(old: Record, new: Record) -> None:
    """Raise DataError where two records are not of the same images, annotations and classes."""
    if old.data is None or new.data is None:
        raise DataError("a record names no data", next_step="name the records of two evaluations")
    facts = [(record.data.annotations_sha256, record.data.images) for record in (old, new) if record.data]
    if facts[0] != facts[1] or set(_classes(old)) != set(_classes(new)):
        step = "run both on the same data, with the same data.limit"
        raise DataError("the two are of other images, annotations or classes", next_step=step)


def _classes(record: Record) -> list[str]:
    """Names of the classes that a record's accuracy is of. Raises DataError where it has none."""
    names = record.value("per_class.box_AP")
    if not isinstance(names, Mapping):
        raise DataError(f"{record.label}: no accuracy was measured", next_step="measure it with measure=accuracy")
    return list(names)


def _annotations(old: FiledRun, new: FiledRun, data: Path | None) -> CocoGroundTruth:
    """The annotations that both runs were evaluated on, as far as they were. Raises DataError."""
    known, record = old.record.data, old.record
    if known is None:
        raise DataError("a record names no data", next_step="name the records of two evaluations")
    places = _given(data) if data is not None else [place for run in (new, old) for place in _places(run)]
    for place in dict.fromkeys(places):
        if not place.is_file():
            continue
        truth = CocoGroundTruth.load(place)
        if truth.sha256 == known.annotations_sha256:
            names = _classes(record)
            there = set(truth.category_names)
            truth = truth.with_categories(names, optional=[name for name in names if name not in there])
            return truth.subset(known.images)
    wanted = f"annotations of {known.name} {known.split} (sha256 {known.annotations_sha256[:8]})"
    if data is not None:
        raise DataError(f"{data} has not the {wanted}", next_step=_NAME_DATA)
    raise DataError(f"the {wanted} are not on this machine", next_step=_NAME_DATA)


def _given(data: Path) -> list[Path]:
    """The annotation files that a user may mean by a path."""
    if not data.is_dir():
        return [data]
    found = find_annotations(data, "val", "--data")
    return [] if found is None else [found]


def _places(run: FiledRun) -> Iterator[Path]:
    """Where the annotations of a run may lie, by its settings: those in its folder name folders of this machine."""
    recorded = run.record.protocol.config.get("data")
    settings = recorded if isinstance(recorded, Mapping) else {}
    name = str(settings.get("annotations"))
    known = run.record.data
    equivalent = EQUIVALENT.get((known.name, known.split)) if known else None
    names = [name, equivalent.annotations] if equivalent is not None and equivalent.annotations else [name]
    roots = [_as_composed(run.folder).get("root"), settings.get("root")]
    folders = [folder for root in roots if root is not None for folder in _folders(str(root))]
    if not folders and known is not None and (cached := local_root(known.name, known.split)) is not None:
        folders = [cached]
    yield from (folder / one for folder in folders for one in names)


def _as_composed(folder: Path) -> Mapping[str, Any]:
    """The data settings of a run as they were composed; none where its folder has none."""
    path = folder / ".hydra" / "config.yaml"
    if not path.is_file():
        return {}
    try:
        composed = yaml.safe_load(path.read_text(encoding="utf-8"))
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


def _detections(run: FiledRun, truth: CocoGroundTruth) -> DetectionColumns:
    """The detections of a run as its protocol evaluates them.

    Raises:
        DataError: they cannot be read, or are those of another run than the record.
    """
    protocol = run.record.protocol.config.get("protocol")
    rounding = protocol.get("rounding") if isinstance(protocol, Mapping) else None
    rounded = Rounding(**rounding) if isinstance(rounding, Mapping) else Rounding()
    path = run.folder / PREDICTIONS
    columns = read_predictions(path, truth).columns
    types = measured_types(run.record.measured)
    if "segm" in types and columns.segmentation is None:
        raise DataError(f"{path} has no masks", next_step="name the folder of the run that its record is of")
    stored = StoredRun(truth=truth, detections=columns, iou_types=types, rounding=rounded, root=path.parent)
    again = stored.score(stored.own_rules())
    for name, value in accuracy_of(run.record).items():
        if not math.isclose(again.get(name) or 0.0, value, rel_tol=0, abs_tol=_EQUAL):
            message = f"{path} has the detections of another run than the record beside it"
            raise DataError(message, next_step="run it again, or name another folder")
    return rounded(columns)


def by_image_lines(compared: Sequence[PairedComparison]) -> list[dict[str, str]]:
    """Everything that moved, as lines for JSON and CSV."""
    lines = []
    for one in compared:
        prefix = PREFIXES[one.iou_type]
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
        prefix = PREFIXES[one.iou_type]
        parts.append(
            f"By image: {one.images} images, {prefix} AP; the interval holds {one.confidence:.0%} of {one.resamples} "
            "paired resamples of the images"
        )
        parts.append(rows_as_text([_line(change, "metric", f"{prefix}_") for change in one.numbers], width))
        classes = [change for change in one.classes if change.delta]
        parts.append(_headed("classes", len(classes), len(one.classes)))
        parts.append(rows_as_text([_line(change, "class") for change in classes[:_MOST_SHOWN]], width))
        images = [
            {"image": image.file_name, "objects": str(image.objects), "old": number_text(image.old)}
            | {"new": number_text(image.new), "delta": number_text(image.delta, "+")}
            for image in one.moved[:_MOST_SHOWN]
        ]
        parts += [_headed("images", len(one.moved), one.images), rows_as_text(images, width)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _headed(what: str, moved: int, all_of_them: int) -> str:
    most = f", the {_MOST_SHOWN} that moved most:" if moved > _MOST_SHOWN else ":" if moved else ""
    return f"{moved} of {all_of_them} {what} moved{most}"


def _line(change: Difference, heading: str, prefix: str = "") -> dict[str, str]:
    ends = (change.low, change.high)
    interval = ABSENT if None in ends else f"[{number_text(ends[0])}, {number_text(ends[1])}]"
    return {
        heading: f"{prefix}{change.name}",
        "old": number_text(change.old),
        "new": number_text(change.new),
        "delta": number_text(change.delta, "+"),
        "interval": interval,
    }
