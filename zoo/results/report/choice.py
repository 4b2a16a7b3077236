"""Which images of a run are drawn: those that moved most against another run, or else those of the costliest errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from zoo.catalog.switches import read_switches
from zoo.coco_tasks import TASKS, IouType
from zoo.data.images import decode
from zoo.errors import DataError
from zoo.measure.coco_eval.errors import ERROR_KINDS, HIT, MEANINGS, DetectionErrors
from zoo.measure.coco_eval.paired import ImageChange, moved_images
from zoo.measure.coco_eval.ranking import Floats, Ints
from zoo.results.record import Record
from zoo.results.report.detections import DrawnImage
from zoo.results.report.drawn import Outline, draw, legend
from zoo.results.run_folder import RunFolders, StoredDetections
from zoo.results.stored import DataFinder, ScoredRun, score_again
from zoo.results.trials import ACCURACY, trials_of

_RIGHT = {"hit": "right", "object": "of the annotations, and found"}

MOST_ERRORS = 8
"""False positives that are drawn in an image, best scores first: detectors have up to a hundred."""

MOST_MARKUP = 350_000
"""Bytes of all drawn images: a page with them stays below 400 kB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The images that are drawn.

    Attributes:
        images: drawn, the first reason first.
        why: they were chosen, as a sentence; empty where there are none.
        legend: what their lines mean, as `<svg>`; likewise.
    """

    images: tuple[DrawnImage, ...] = ()
    why: str = ""
    legend: str = ""


def choose_images(
    run: ScoredRun, errors: Mapping[IouType, DetectionErrors], runs: RunFolders, data: DataFinder, limit: int
) -> Choice:
    """Choose and draw images of a run, by masks or keypoints where it has them.

    Args:
        run: of the row.
        errors: of its boxes, and of its masks and keypoints where it has them.
        runs: where other runs of the entry may lie.
        data: opens their data.
        limit: number of images.

    Raises:
        DataError: an image is missing or damaged.
    """
    kind = list(run.results)[-1]  # boxes come first
    of = TASKS[kind].prefix
    other = _other_run(run, runs, data)
    moved = moved_images(run.data.truth, other.detections, run.detections, iou_type=kind) if other else ()
    if other is not None and moved:
        position = {image: i for i, image in enumerate(run.data.truth.image_ids.tolist())}
        chosen: dict[int, str] = {position[change.image_id]: _change(change, of) for change in moved[:limit]}
        part = other.record.parts[ACCURACY]
        why = f"The images whose {of} AP changed most against {other.record.label}, run on {part.finished[:10]}."
    else:
        cost = _cost_of_images(run, errors[kind])
        order = np.argsort(-cost, kind="stable")[:limit]
        chosen = {i: f"{cost[i]:.2f} points of AP50" for i in order.tolist() if cost[i] > 0}
        why = (
            f"The images with the costliest {of} errors: each kind's cost is shared among its detections by score, and "
            "evenly among missed objects."
        )
    if not chosen:
        return Choice()
    files = run.data.image_files()
    images = []
    for image, reason in chosen.items():
        outlines = _outlines(run, errors[kind], image, kind)
        pixels = decode(files[image], run.data.truth.size_of(image))
        name = run.data.truth.file_names[image]
        caption = f"{name}: {reason}; {_summary(run, errors[kind], image, kind)}."
        images.append(DrawnImage(name=name, caption=caption, markup=draw(pixels, outlines, name=name)))
        if sum(len(drawn.markup) for drawn in images) > MOST_MARKUP:
            images.pop()
            break
    return Choice(images=tuple(images), why=why, legend=legend([*_RIGHT.items(), *MEANINGS.items()]))


def _other_run(run: ScoredRun, runs: RunFolders, data: DataFinder) -> ScoredRun | None:
    """The run to compare with: explain's best candidate, or else the newest older run of the same row and condition."""
    alike = [other for other in runs.of_entry(run.record.entry) if _is_alike(run.record, other.record)]
    switches = read_switches(run.record.zoo)
    trials = [other for other in alike if trials_of(run.record, [other.record], switches)]
    nearer = [other for other in trials if _distance(other.record, run.record) < _distance(run.record, run.record)]
    candidates = sorted(nearer, key=lambda other: _distance(other.record, run.record))
    older = [other for other in alike if other.record.identity == run.record.identity and _finished(other) < _of(run)]
    for other in (*candidates, *sorted(older, key=_finished, reverse=True)):
        try:
            return score_again(other, data)
        except DataError:  # it is not needed to show the run itself
            continue
    return None


def _is_alike(record: Record, other: Record) -> bool:
    """Whether a run is another one on the same images."""
    if other.status != "measured" or record.data is None or other.data is None:
        return False
    same = (record.data.annotations_sha256, record.data.images) == (other.data.annotations_sha256, other.data.images)
    return same and record.parts[ACCURACY].finished != other.parts[ACCURACY].finished


def _finished(run: StoredDetections) -> str:
    return run.record.parts[ACCURACY].finished


def _of(run: ScoredRun) -> str:
    return run.record.parts[ACCURACY].finished


def _distance(record: Record, judged: Record) -> float:
    """How far a run is from the published AP that another one was judged by; infinite where it was not."""
    for metric in (task.ap for task in TASKS.values()):
        verdict, value = judged.verdict.get(metric), record.number(metric)
        if verdict is not None and None not in (verdict.measured, verdict.delta) and value is not None:
            return abs(value - (verdict.measured or 0.0) + (verdict.delta or 0.0))
    return float("inf")


def _change(change: ImageChange, of: str) -> str:
    return f"{of} AP from {change.old:.1f} to {change.new:.1f}"


def _cost_of_images(run: ScoredRun, errors: DetectionErrors) -> Floats:
    """What the errors of each image cost, (I,), in points of AP50."""
    truth, images = run.data.truth, len(run.data.truth)
    image = np.searchsorted(truth.image_ids, run.detections.image_id)
    total = np.zeros(images)
    for position, kind in enumerate(ERROR_KINDS):
        if kind == "missed":
            weights = np.bincount(truth.image_index[errors.missed], minlength=images).astype(float)
        else:
            of_kind = errors.kind == position
            weights = np.bincount(image[of_kind], weights=run.detections.score[of_kind], minlength=images)
        if weights.sum() > 0:
            total += errors.cost[kind] * weights / weights.sum()
    return total


def _detections_of(run: ScoredRun, image: int) -> Ints:
    """The positions of the detections of an image, best score first."""
    rows = np.flatnonzero(run.detections.image_id == run.data.truth.image_ids[image])
    return rows[np.argsort(-run.detections.score[rows], kind="stable")]


def _outlines(run: ScoredRun, errors: DetectionErrors, image: int, compared: IouType) -> list[Outline]:
    """The objects of an image, then its errors, then its hits: what is drawn last is on top."""
    truth, detections = run.data.truth, run.detections
    objects = truth.annotations_of(image)
    uncounted = truth.uncounted(compared)
    name_of = dict(zip(truth.category_ids.tolist(), truth.category_names, strict=True))
    outlines = [
        Outline(
            kind="missed" if errors.missed[i] else "object",
            name=truth.category_names[truth.category_index[i]],
            box=_box(truth.boxes[i]),
            mask=truth.rle(i) if compared == "segm" else None,
            keypoints=_labelled(truth.require_keypoints()[i]) if compared == "keypoints" else (),
        )
        for i in range(objects.start, objects.stop)
        if not uncounted[i]
    ]
    rows = _detections_of(run, image)
    hits, wrong = rows[errors.kind[rows] == HIT], rows[errors.kind[rows] >= 0][:MOST_ERRORS]
    for i in (*reversed(wrong.tolist()), *reversed(hits.tolist())):
        kind = "hit" if errors.kind[i] == HIT else ERROR_KINDS[errors.kind[i]]
        target = errors.target[i]
        note = f", is {truth.category_names[truth.category_index[target]]}" if kind == "classification" else ""
        outlines.append(
            Outline(
                kind=kind,
                name=name_of[int(detections.category_id[i])],
                box=_box(detections.bbox[i]),
                score=float(detections.score[i]),
                mask=detections.masks()[i] if compared == "segm" else None,
                keypoints=_labelled(detections.points()[i], every=True) if compared == "keypoints" else (),
                note=note,
            )
        )
    return outlines


def _labelled(keypoints: Floats, *, every: bool = False) -> tuple[tuple[float, float] | None, ...]:
    """(x, y) of keypoints (K, 3); of annotations, only of those that are labelled."""
    return tuple((x, y) if every or visibility > 0 else None for x, y, visibility in keypoints.tolist())


def _box(values: Floats) -> tuple[float, float, float, float]:
    x, y, width, height = values.tolist()
    return x, y, width, height


def _summary(run: ScoredRun, errors: DetectionErrors, image: int, compared: IouType) -> str:
    """How many objects, hits and errors an image has, and how many of the errors are drawn."""
    objects = run.data.truth.annotations_of(image)
    rows = errors.kind[_detections_of(run, image)]
    uncounted = run.data.truth.uncounted(compared)[objects]
    wrong, missed = rows[rows >= 0], int(errors.missed[objects].sum())
    counts = Counter(ERROR_KINDS[kind] for kind in wrong.tolist())
    words = [_counted(int((~uncounted).sum()), "object"), _counted(int((rows == HIT).sum()), "hit"), f"{missed} missed"]
    words += [f"{counts[kind]} {kind}" for kind in ERROR_KINDS if counts[kind]]
    drawn = f" (drawn: the {MOST_ERRORS} false positives of the highest scores)" if len(wrong) > MOST_ERRORS else ""
    return ", ".join(words) + drawn


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")
