"""The stored detections of a run and the annotations that they belong to, held against its record."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.coco_tasks import TASKS, IouType, iou_types_of
from zoo.data.coco import CocoGroundTruth
from zoo.data.coco2014 import EQUIVALENT
from zoo.data.dataset import local_root
from zoo.data.splits import image_files, load_annotations
from zoo.errors import DataError
from zoo.measure.coco_eval.columns import DetectionColumns
from zoo.measure.coco_eval.evaluate import CocoResult, evaluate
from zoo.measure.coco_eval.summary import Rounding
from zoo.measure.score.results_file import read_predictions
from zoo.results.record import DataRecord, Record
from zoo.results.run_folder import StoredDetections

_SAME = 1e-6
"""AP points by which an AP may differ that is computed anew, on another machine."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ScoredRun:
    """A run whose detections were read, and give its numbers again.

    Attributes:
        record: of the run.
        data: where its images are.
        detections: as they are evaluated.
        results: COCO's evaluation of everything that the record has an AP of.
    """

    record: Record
    data: OpenData
    detections: DetectionColumns
    results: Mapping[IouType, CocoResult]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class OpenData:
    """The annotations of a run.

    Attributes:
        truth: annotations, with the classes of the run.
        root: folder of the data set.
        images: folder of its images, relative to the root.
        split: data set and split.
    """

    truth: CocoGroundTruth
    root: Path
    images: str
    split: tuple[str, str]

    def image_files(self) -> list[Path]:
        """The image files, in the order of the annotations. Raises DataError: one is missing."""
        return image_files(self.root, self.images, self.truth, EQUIVALENT.get(self.split))


class DataFinder:
    """Opens the data of runs where it lies on this disk: nothing is downloaded, and each file is read once.

    Args:
        roots: folders to look in, besides those that data sets have in the cache.
    """

    def __init__(self, roots: Sequence[Path] = ()) -> None:
        self.roots = tuple(roots)
        self._loaded: dict[Path, CocoGroundTruth] = {}
        self._opened: dict[tuple[object, ...], OpenData] = {}

    def open(self, record: Record) -> OpenData:
        """The data of a run: annotations of the sha256 that its record has.

        Raises:
            DataError: they are in none of the folders.
        """
        asked, classes, data = _asked(record), _classes(record), record.data
        if asked is None or not classes or data is None:
            raise DataError("the record does not say what data it was", next_step="run the row again")
        key = data.annotations_sha256, data.images, asked["annotations"], asked["images"], tuple(classes)
        if key not in self._opened:
            root, whole = self._find(data, asked["annotations"])
            there = [name for name in classes if name in whole.category_names]
            truth = whole.with_categories(there).subset(data.images)
            split = data.name, data.split
            self._opened[key] = OpenData(truth=truth, root=root, images=asked["images"], split=split)
        return self._opened[key]

    def _find(self, data: DataRecord, annotations: str) -> tuple[Path, CocoGroundTruth]:
        """The folder that has the annotations of a run, and what they say. Raises DataError."""
        for root in self._folders(data):
            try:
                loaded = self._load(root, annotations, (data.name, data.split))
            except DataError:
                continue
            if loaded.sha256 == data.annotations_sha256:
                return root, loaded
        message = f"{annotations} of {data.name} {data.split}, sha256 {data.annotations_sha256[:8]}, is not here"
        raise DataError(message, next_step="name the folder of the data with --data DIR")

    def _folders(self, data: DataRecord) -> Iterator[Path]:
        """Where data may lie; the cache last, as the embedded data set is drawn there when it is asked for."""
        yield from self.roots
        cached = local_root(data.name, data.split)
        if cached is not None:
            yield cached

    def _load(self, root: Path, annotations: str, split: tuple[str, str]) -> CocoGroundTruth:
        path = root / annotations
        if path not in self._loaded:
            self._loaded[path] = load_annotations(root, annotations, EQUIVALENT.get(split))[1]
        return self._loaded[path]


def score_again(run: StoredDetections, finder: DataFinder) -> ScoredRun:
    """Read the detections of a run and evaluate them as the run did.

    Raises:
        DataError: detections or annotations are missing or damaged, or they are not those of the run.
    """
    record = run.record
    data = finder.open(record)
    detections = _rounding(record)(read_predictions(run.path, data.truth).columns)
    types = iou_types_of(record.measured)
    results = {kind: evaluate(data.truth, detections, iou_type=kind) for kind in types}
    for kind, result in results.items():
        measured = record.number(TASKS[kind].ap)
        if measured is None or not math.isclose(result.stats[0] * 100, measured, rel_tol=0, abs_tol=_SAME):
            message = f"{run.path} has the detections of another run than its record"
            raise DataError(message, next_step="run the row again")
    return ScoredRun(record=record, data=data, detections=detections, results=results)


def _asked(record: Record) -> Mapping[str, Any] | None:
    """What the record says of the place of annotations and images; None where it does not."""
    asked = record.protocol.config.get("data")
    known = isinstance(asked, Mapping) and all(isinstance(asked.get(key), str) for key in ("annotations", "images"))
    return asked if isinstance(asked, Mapping) and known else None


def _classes(record: Record) -> list[str]:
    """The names of the classes that were evaluated."""
    per_class = record.value("per_class")
    numbers = list(per_class.values()) if isinstance(per_class, Mapping) else []
    return list(numbers[0]) if numbers and isinstance(numbers[0], Mapping) else []


def _rounding(record: Record) -> Rounding:
    """The decimals that the protocol rounds to."""
    protocol = record.protocol.config.get("protocol")
    asked = protocol.get("rounding") if isinstance(protocol, Mapping) else None
    return Rounding(**asked) if isinstance(asked, Mapping) else Rounding()
