"""The doctor: the classic mistakes in a file of detections, each named with its fix before anything is scored.

What would give a wrong number is refused; what only costs some of it is a warning.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from zoo.coco_tasks import TASKS, CocoTask
from zoo.data.coco import CocoGroundTruth
from zoo.errors import closest
from zoo.measure.coco_eval.columns import DetectionColumns
from zoo.measure.score.keypoint_placement import misplaced_keypoints
from zoo.measure.score.labels import other_numbering
from zoo.measure.score.placement import misplaced
from zoo.measure.score.results_file import UNKNOWN, Predictions
from zoo.measure.score.sample import Sample

_LOWEST_SCORE = 0.06
"""Detectors of the published tables are cut at 0.05 or below."""

_FEWEST = 50
"""Detections from which the lowest score says something."""

_BEYOND = 1.5
"""Pixels by which a box may leave its image: an old convention makes boxes one pixel wider."""

_LISTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One mistake.

    Attributes:
        kind: its name: "NaN", "label shift", "xyxy", "normalised", "resized", "names", "threshold",
            "keypoint axes", ...
        message: what was seen, with numbers.
        fix: what to do about it, as an imperative sentence.
        refused: whether the number would be wrong, so that nothing is scored.
    """

    kind: str
    message: str
    fix: str
    refused: bool


def examine(predictions: Predictions, truth: CocoGroundTruth) -> list[Finding]:
    """The mistakes in a file of detections, those first that are refused.

    Args:
        predictions: as the file has them.
        truth: the annotations that they are to be scored on.
    """
    columns = predictions.columns
    if not len(columns):
        return [_warning("empty", "there is no detection at all", "look at what wrote the file")]
    broken = list(_broken_numbers(columns, boxed=predictions.has_boxes))
    if broken:
        return broken
    known = np.isin(columns.image_id, truth.image_ids)
    findings = [*_unscored(predictions), *_unknown_images(columns, known, truth), *_names(predictions, truth)]
    if known.any():
        here = columns.chosen(known)
        sample = Sample.of(here, truth)
        placed = [*(_placement(sample) if predictions.has_boxes else ())]
        placed = placed or list(_keypoints(here, truth, boxed=predictions.has_boxes))
        findings += placed or list(_labels(here, sample, truth, named=_is_named(predictions)))
        checks = _CHECKS if predictions.has_boxes else _CHECKS_WITHOUT_BOXES
        findings += [finding for check in checks for finding in check(here, truth)] if not placed else []
    return sorted(findings, key=lambda finding: not finding.refused)


def unmatched_names(model: Sequence[str], annotations: Sequence[str]) -> Finding | None:
    """Two class lists that call one class by two names, or have no class in common; else None.

    Args:
        model: the class list of an entry.
        annotations: names of the categories of the annotations.
    """
    absent = [name for name in model if name not in annotations]
    strange = [name for name in annotations if name not in model]
    pairs = [(name, other) for name in strange if (other := _same_thing(name, absent)) is not None]
    fix = "rename the categories of the annotations to what the model calls them"
    if pairs:
        listed = ", ".join(f"{name!r} is {other!r} to the model" for name, other in pairs[:_LISTED])
        return _refusal("names", f"category names do not match: {listed}", fix)
    if len(absent) == len(model):
        text = f"category names do not match: the model has {_named(model)}, the annotations {_named(annotations)}"
        return _refusal("names", text, fix)
    return None


def _broken_numbers(columns: DetectionColumns, *, boxed: bool) -> Iterator[Finding]:
    numbers = {"score": columns.score[:, None]} | ({"box": columns.bbox} if boxed else {})
    if columns.keypoints is not None:
        numbers["keypoint"] = columns.keypoints.reshape(len(columns), -1)
    for name, values in numbers.items():
        rows = np.asarray(~np.isfinite(values).all(axis=1))
        if rows.any():
            text = f"{_count(rows)} a {name} that is not a finite number, the first at position {rows.argmax()}"
            yield _refusal("NaN", text, "look at the model's outputs (half precision?) and leave no NaN in the file")
            return
    negative = np.asarray((columns.bbox[:, 2:] < 0).any(axis=1))
    if negative.any():
        text = f"{_count(negative)} a negative width or height, the first at position {negative.argmax()}"
        yield _refusal("negative size", text, "write (x, y, width, height) with x and y of the upper left corner")


def _unscored(predictions: Predictions) -> Iterator[Finding]:
    for kind, reason in predictions.unscored.items():
        fix = f"give every detection its {TASKS[kind].plural}, and annotations that have them"
        yield _warning(f"no {TASKS[kind].plural}", f"{TASKS[kind].plural} are not scored: {reason}", fix)


def _unknown_images(
    columns: DetectionColumns, known: npt.NDArray[np.bool_], truth: CocoGroundTruth
) -> Iterator[Finding]:
    if known.all():
        return
    ids = np.unique(columns.image_id[~known])
    named = "names of images" if UNKNOWN in ids else f"image ids such as {', '.join(map(str, ids[:_LISTED].tolist()))}"
    example = f"the annotations have ids such as {', '.join(map(str, truth.image_ids[:3].tolist()))}"
    if known.any():
        text = f"{_count(~known)} {named} that the annotations do not have; they are left out"
        yield _warning("unknown images", text, "score on the annotations of all images that the detector was run on")
    else:
        text = f"no detection is of an image of the annotations: {named}, where {example}"
        yield _refusal("unknown images", text, "give the annotations of the images that the detector was run on")


def _names(predictions: Predictions, truth: CocoGroundTruth) -> Iterator[Finding]:
    names, given = predictions.category_names, predictions.given_ids
    if names is None:
        return
    strange = sorted(set(names).difference(truth.category_names))
    if strange:
        near = closest(strange[0], truth.category_names)
        text = f"category names that the annotations do not have: {_named(strange)} ({near})"
        yield _refusal("names", text, "call the categories what the annotations call them")
    elif given is not None and not np.array_equal(given, predictions.columns.category_id):
        wrong = given != predictions.columns.category_id
        text = f"{_count(wrong)} a category_id that is not that of their category_name; the names count"
        yield _warning("ids beside names", text, "write the ids of the annotations")


def _is_named(predictions: Predictions) -> bool:
    return predictions.category_names is not None


def _placement(sample: Sample) -> Iterator[Finding]:
    reading = misplaced(sample)
    if reading is not None:
        yield _refusal(reading.kind, reading.text, reading.fix)


def _keypoints(columns: DetectionColumns, truth: CocoGroundTruth, *, boxed: bool) -> Iterator[Finding]:
    if columns.keypoints is None:
        return
    reading = misplaced_keypoints(columns, truth, boxed=boxed)
    if reading is not None:
        yield _refusal(reading.kind, reading.text, reading.fix)


def _labels(columns: DetectionColumns, sample: Sample, truth: CocoGroundTruth, *, named: bool) -> Iterator[Finding]:
    if named:  # by name: what is unknown was said already
        return
    numbering = other_numbering(sample, truth)
    fix = "write the ids of the annotations' categories"
    unknown = ~np.isin(columns.category_id, truth.category_ids)
    if numbering is not None:
        yield _refusal("label shift", f"the category ids are {numbering}, not the annotations' ids", fix)
    elif unknown.all():
        ids = f"{_ids(columns.category_id)}; the annotations have {_ids(truth.category_ids)}"
        yield _refusal("names", f"no detection is of a category of the annotations: ids {ids}", fix)
    elif unknown.any():
        ids = _ids(columns.category_id[unknown])
        text = f"{_count(unknown)} a category that the annotations do not have (ids {ids}); they are left out"
        yield _warning("unknown categories", text, fix)


def _cut(columns: DetectionColumns, truth: CocoGroundTruth, task: CocoTask = TASKS["bbox"]) -> Iterator[Finding]:
    """Detections that were left out: beyond a number an image, or below a score."""
    image = np.searchsorted(truth.image_ids, columns.image_id)
    counts = np.bincount(image, minlength=len(truth))
    most = int(counts.max())
    full, nearly = counts == most, counts == most - 1
    objects = np.bincount(truth.image_index, minlength=len(truth))
    piled = full.sum() >= max(4, 0.05 * (counts > 0).sum()) and full.sum() > 3 * max(1, nearly.sum())
    capped = bool(most < task.max_per_image and piled and (most >= 3 or (objects[full] > most).any()))
    if capped:
        text = f"{full.sum()} images have exactly {most} detections and none has more: they are capped"
        yield _warning("cap", text, f"keep up to {task.max_per_image} detections an image, as COCO counts them")
    scores = columns.score[~full[image]] if capped else columns.score  # a cap takes low scores along
    if len(scores) >= _FEWEST and scores.min() > _LOWEST_SCORE:
        text = f"no score is below {scores.min():.4g}: detections were cut at a threshold, which lowers AP"
        yield _warning("threshold", text, "run the detector with a threshold of 0.001 to 0.05")


def _doubles(columns: DetectionColumns, truth: CocoGroundTruth) -> Iterator[Finding]:  # noqa: ARG001
    order = np.lexsort((columns.score, columns.bbox[:, 0], columns.category_id, columns.image_id))
    rows = np.column_stack((columns.image_id, columns.category_id))[order]
    numbers = np.column_stack((columns.bbox, columns.score))[order]
    double = (rows[1:] == rows[:-1]).all(axis=1) & (numbers[1:] == numbers[:-1]).all(axis=1)
    if double.any():
        text = f"{double.sum()} of {len(columns)} detections are there twice, to the last digit"
        yield _warning("doubles", text, "write each image once; a second detection of an object counts as a false one")


def _outside(columns: DetectionColumns, truth: CocoGroundTruth) -> Iterator[Finding]:
    image = np.searchsorted(truth.image_ids, columns.image_id)
    sizes = np.stack((truth.widths[image], truth.heights[image]), axis=1)
    corner, far = columns.bbox[:, :2], columns.bbox[:, :2] + columns.bbox[:, 2:]
    outside = np.asarray(((corner < -_BEYOND) | (far > sizes + _BEYOND)).any(axis=1))
    if outside.any():
        text = f"{_count(outside)} a box that reaches out of its image"
        yield _warning("outside", text, "clip boxes to the image, and see that they are in its pixels")


def _not_run(columns: DetectionColumns, truth: CocoGroundTruth) -> Iterator[Finding]:
    there = np.unique(truth.image_ids[np.unique(truth.image_index)])
    without = ~np.isin(there, columns.image_id)
    if without.mean() > 0.1:
        text = (
            f"{without.sum()} of {len(there)} images with objects have no detection; all their objects count as missed"
        )
        yield _warning("images without detections", text, "score on the annotations of the images that were run")


_CHECKS: tuple[Callable[[DetectionColumns, CocoGroundTruth], Iterator[Finding]], ...] = (
    _cut,
    _doubles,
    _outside,
    _not_run,
)

_CHECKS_WITHOUT_BOXES: tuple[Callable[[DetectionColumns, CocoGroundTruth], Iterator[Finding]], ...] = (
    partial(_cut, task=TASKS["keypoints"]),
    _doubles,
    _not_run,
)

_OTHER_NAMES = (
    ("aeroplane", "airplane"),
    ("motorbike", "motorcycle"),
    ("sofa", "couch"),
    ("tvmonitor", "tv"),
    ("diningtable", "dining table"),
    ("pottedplant", "potted plant"),
)
"""What Pascal VOC calls classes of COCO."""


def _same_thing(name: str, others: Sequence[str]) -> str | None:
    """Which of other names means the same class, by its spelling."""
    for pair in _OTHER_NAMES:
        if name in pair and (other := pair[1 - pair.index(name)]) in others:
            return other
    spelled = {_letters(other): other for other in others}
    if _letters(name) in spelled:
        return spelled[_letters(name)]
    near = difflib.get_close_matches(_letters(name), spelled, n=1, cutoff=0.85)
    return spelled[near[0]] if near else None


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _count(chosen: npt.NDArray[np.bool_]) -> str:
    return f"{chosen.sum()} of {len(chosen)} detections have"


def _ids(ids: npt.NDArray[np.int64]) -> str:
    known = np.unique(ids).tolist()
    return ", ".join(map(str, known[:_LISTED])) + (f" to {known[-1]}" if len(known) > _LISTED else "")


def _named(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + rest


def _refusal(kind: str, message: str, fix: str) -> Finding:
    return Finding(kind=kind, message=message, fix=fix, refused=True)


def _warning(kind: str, message: str, fix: str) -> Finding:
    return Finding(kind=kind, message=message, fix=fix, refused=False)
