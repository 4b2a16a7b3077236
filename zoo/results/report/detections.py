"""What the report shows of the detections that a run stored: PR curves, kinds of errors, and drawn images.

Detections lie in the folder of a run, beside its record; annotations and images wherever the data was. Both are only
read where they are on this disk already: a report downloads nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.coco_tasks import TASKS, IouType
from zoo.errors import ZooError
from zoo.results.record import Record
from zoo.results.run_folder import RUNS, RunFolders

if TYPE_CHECKING:
    from zoo.measure.coco_eval.errors import DetectionErrors
    from zoo.results.stored import ScoredRun

RECALLS = 101
"""Points of a PR curve, at recall 0, 0.01 ... 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrCurves:
    """Precision over recall; each curve has `RECALLS` numbers in [0, 1].

    Attributes:
        of: "box", "mask" or "keypoint": what is compared.
        mean: "0.5", "0.75" and "0.5:0.95", the IoU -> the curve, the mean over all classes that have objects.
        per_class: name of a class that has objects, in the data set's order -> its curve at IoU 0.5.
    """

    of: str
    mean: Mapping[str, tuple[float, ...]]
    per_class: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorLine:
    """The errors of one kind.

    Attributes:
        kind: its name, such as "localisation".
        meaning: what it means, in a few words.
        count: how many detections (of "missed": objects) are of this kind.
        cost: AP50 in points that would be gained if all of these alone were put right.
    """

    kind: str
    meaning: str
    count: int
    cost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorTable:
    """The errors of a run by kind, in the manner of TIDE.

    Attributes:
        of: "box", "mask" or "keypoint": what is compared.
        ap50: AP at IoU 0.5, in points; None where there are no objects.
        hits: how many detections are right.
        lines: every kind, in the order of `ERROR_KINDS`.
    """

    of: str
    ap50: float | None
    hits: int
    lines: tuple[ErrorLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnImage:
    """One image with its objects and detections.

    Attributes:
        name: of the image file.
        caption: what is to be seen, in a sentence: why it was chosen, and how many objects, hits and errors it has.
        markup: an `<svg>` to be put into a page as it is, picture and drawing in one; its label is the alternative
            text. It needs no style sheet, and keeps its own colours in dark mode.
    """

    name: str
    caption: str
    markup: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionView:
    """What can be shown of the stored detections of a record.

    Attributes:
        curves: of boxes, then of masks and keypoints where the row has them; empty where the detections are not there.
        errors: likewise.
        images: at most `MAX_IMAGES`.
        chosen: why these images, as a sentence; empty where there are none.
        legend: an `<svg>` that says what the lines of the drawn images mean; empty where there are none.
        missing: what cannot be shown, why, and how to get it, in a sentence; None where everything is there.
    """

    curves: tuple[PrCurves, ...] = ()
    errors: tuple[ErrorTable, ...] = ()
    images: tuple[DrawnImage, ...] = ()
    chosen: str = ""
    legend: str = ""
    missing: str | None = None


MAX_IMAGES = 6
"""Images that are drawn of a record."""


class DetectionViews:
    """Makes the views of records.

    Args:
        runs: folders to look for runs in.
        data: folders of data sets, in COCO's layout; those of the cache are known.
    """

    def __init__(self, runs: Sequence[Path] = RUNS, data: Sequence[Path] = ()) -> None:
        from zoo.results.stored import DataFinder

        self._runs = RunFolders(runs)
        self._data = DataFinder(data)

    def of(self, record: Record) -> DetectionView:
        """What can be shown of a record; of a training over several seeds, what its last run left."""
        from zoo.results.report.choice import choose_images
        from zoo.results.stored import score_again

        run = self._runs.of(record)
        if run is None:
            return DetectionView(missing=self._no_run(record))
        try:
            scored = score_again(run, self._data)
        except ZooError as error:
            return DetectionView(missing=f"Its detections cannot be shown: {error.message}; {error.next_step}.")
        errors = {kind: _errors(scored, kind) for kind in scored.results}
        tables = tuple(_table(kind, found) for kind, found in errors.items())
        curves = tuple(_curves(scored, kind) for kind in scored.results)
        try:
            choice = choose_images(scored, errors, self._runs, self._data, MAX_IMAGES)
            return DetectionView(
                curves=curves, errors=tables, images=choice.images, chosen=choice.why, legend=choice.legend
            )
        except ZooError as error:
            missing = f"Its images cannot be drawn: {error.message}; {error.next_step}."
            return DetectionView(curves=curves, errors=tables, missing=missing)

    def _no_run(self, record: Record) -> str:
        if record.status != "measured" or "accuracy" not in record.parts:
            return "No accuracy was measured, so there are no detections to show."
        where = " or ".join(f"{folder}/" for folder in self._runs.below)
        return (
            f"The detections of this run are not below {where}: name the folder that they lie in with "
            "`zoo report --runs DIR`, or run the row again."
        )


def _errors(scored: ScoredRun, kind: IouType) -> DetectionErrors:
    from zoo.measure.coco_eval.errors import find_errors

    return find_errors(scored.data.truth, scored.detections, iou_type=kind)


def _table(kind: IouType, errors: DetectionErrors) -> ErrorTable:
    from zoo.measure.coco_eval.errors import MEANINGS

    counts = errors.counts
    lines = [
        ErrorLine(kind=name, meaning=meaning, count=counts[name], cost=errors.cost[name])
        for name, meaning in MEANINGS.items()
    ]
    return ErrorTable(of=TASKS[kind].prefix, ap50=errors.ap50, hits=errors.hits, lines=tuple(lines))


def _curves(scored: ScoredRun, kind: IouType) -> PrCurves:
    result, truth = scored.results[kind], scored.data.truth
    means = {"0.5": (0.5,), "0.75": (0.75,), "0.5:0.95": ()}
    names = [truth.category_names[label] for label in truth.category_ids.argsort().tolist()]
    return PrCurves(
        of=TASKS[kind].prefix,
        mean={name: tuple(result.mean_pr_curve(*thresholds).tolist()) for name, thresholds in means.items()},
        per_class={
            name: tuple(curve)
            for name, curve in zip(names, result.pr_curves(0.5).tolist(), strict=True)
            if curve[0] >= 0
        },
    )
