"""Two sets of detections in the same images beside each other: what moved, and how far chance alone would go.

Both are evaluated on the same resamples of the images (a paired bootstrap), so that what makes an image hard for both
drops out of the difference. Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13
(the percentile interval).

Legend for shapes: B resamples, I images, K categories by ascending id, T IoU thresholds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from zoo.coco_tasks import IouType
from zoo.data.coco import CocoGroundTruth
from zoo.errors import DataError
from zoo.fetch.cache import progress
from zoo.measure.coco_eval.area_iou_bits import IOU_THRESHOLDS
from zoo.measure.coco_eval.columns import DetectionColumns
from zoo.measure.coco_eval.evaluate import CocoResult, MatchedDetections, match_detections, result_of
from zoo.measure.coco_eval.ranking import Floats, Ints
from zoo.measure.coco_eval.weighted import WeightedCurves

RESAMPLES = 1000
CONFIDENCE = 0.95

_COUNTED = {"AP": IOU_THRESHOLDS > 0, "AP50": IOU_THRESHOLDS == 0.5, "AP75": IOU_THRESHOLDS == 0.75}
"""The numbers that get an interval, and the thresholds (T,) that each is the mean over."""

Interval: TypeAlias = tuple[float, float] | tuple[None, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One number of both sets, in AP points (0 to 100).

    Attributes:
        name: the number, such as "AP50", or the class whose AP it is.
        old: of the earlier set.
        new: of the later one.
        low: lower end of the interval of `new - old` over resamples; None where none has an object.
        high: its upper end, likewise.
    """

    name: str
    old: float
    new: float
    low: float | None
    high: float | None

    @property
    def delta(self) -> float:
        """How far the number moved, in AP points."""
        return self.new - self.old

    @property
    def beyond_chance(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageChange:
    """The AP of one image in both sets, in points: detections of all its classes in one order of score.

    Attributes:
        image_id: the data set's id.
        file_name: relative to the image folder.
        objects: how many objects count in it.
        old: of the earlier set.
        new: of the later one.
    """

    image_id: int
    file_name: str
    objects: int
    old: float
    new: float

    @property
    def delta(self) -> float:
        """How far the image moved, in AP points."""
        return self.new - self.old


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedComparison:
    """Two sets of detections in the same images.

    Attributes:
        iou_type: what was compared.
        resamples: how often the images were drawn anew.
        confidence: share of the resamples that lie in an interval.
        seed: of the draws.
        images: how many images there are.
        numbers: AP, AP50 and AP75 of the data set.
        classes: AP of each class that has objects, those that moved most first.
        moved: images whose AP moved, those that moved most first; of equal moves the image with more objects. An image
            without objects has no AP and is never among them.
    """

    iou_type: IouType
    resamples: int
    confidence: float
    seed: int
    images: int
    numbers: tuple[Difference, ...]
    classes: tuple[Difference, ...]
    moved: tuple[ImageChange, ...]


def compare_paired(
    ground_truth: CocoGroundTruth,
    old: DetectionColumns,
    new: DetectionColumns,
    *,
    iou_type: IouType = "bbox",
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> PairedComparison:
    """Compare two sets of detections in the same images, with paired bootstrap intervals of the differences.

    Every resample draws as many images as there are, with replacement, the same for both sets; its AP is that of COCO
    on the drawn images, a class without objects among them left out. Of an image that is drawn several times,
    detections of one class with the very same score are ranked each beside its copies, where `evaluate` would rank copy
    after copy. Shows a progress bar. Equal sets give intervals of exactly [0, 0].

    Args:
        ground_truth: annotations of the images that both detectors were run on.
        old: the earlier detections, rounded as their protocol rounds them.
        new: the later ones, likewise.
        iou_type: what is compared.
        resamples: how often the images are drawn anew.
        confidence: share of the resamples that an interval holds, between its percentiles.
        seed: of the draws.

    Raises:
        DataError: a detection is of an image that the ground truth does not have, or there is nothing to find.
        ZooError: a number is not finite, or what is compared is not there.
    """
    sides = [match_detections(ground_truth, detections, iou_type) for detections in (old, new)]
    if not sides[0].targets.positives[0].any():
        raise DataError("the annotations have no objects to find", next_step="compare on images that have objects")
    images = len(ground_truth)
    results = [result_of(side) for side in sides]
    curves = [WeightedCurves.by_category(side, images=images) for side in sides]
    drawn = np.stack([_differences(curves, weights) for weights in _weights(images, resamples, seed)])  # (B, N + K)
    ends = [_interval(column, confidence) for column in drawn.T]
    return PairedComparison(
        iou_type=iou_type,
        resamples=resamples,
        confidence=confidence,
        seed=seed,
        images=images,
        numbers=tuple(_numbers(results, ends[: len(_COUNTED)])),
        classes=tuple(sorted(_classes(ground_truth, results, ends[len(_COUNTED) :]), key=_by_class)),
        moved=_moved(ground_truth, sides),
    )


def moved_images(
    ground_truth: CocoGroundTruth, old: DetectionColumns, new: DetectionColumns, *, iou_type: IouType = "bbox"
) -> tuple[ImageChange, ...]:
    """The images whose AP moved from one set of detections to another, as `PairedComparison.moved` has them.

    Args:
        ground_truth: annotations of the images that both detectors were run on.
        old: the earlier detections.
        new: the later ones.
        iou_type: what is compared.

    Raises:
        DataError: a detection is of an image that the ground truth does not have.
        ZooError: a number is not finite, or what is compared is not there.
    """
    return _moved(ground_truth, [match_detections(ground_truth, detections, iou_type) for detections in (old, new)])


def _weights(images: int, resamples: int, seed: int) -> Iterator[Ints]:
    """How often each image is drawn (I,), for every resample."""
    rng = np.random.default_rng(seed)
    with progress("resampling images", total=resamples, unit="resamples") as bar:
        for _ in range(resamples):
            yield np.bincount(rng.integers(0, images, images), minlength=images)
            bar.update()


def _differences(sides: list[WeightedCurves], weights: Ints) -> Floats:
    """New minus old on weighted images, in [-1, 1]: the counted numbers, then the AP of each class, (N + K,).

    NaN for a class without objects in these images, and for all of them where no class has any.
    """
    old, new = (side.average_precision(weights) for side in sides)  # (T, K)
    there = ~np.isnan(old[0])
    if not there.any():
        return np.full(len(_COUNTED) + len(there), np.nan)
    numbers = [new[at][:, there].mean() - old[at][:, there].mean() for at in _COUNTED.values()]
    return np.concatenate([numbers, new.mean(axis=0) - old.mean(axis=0)])


def _interval(drawn: Floats, confidence: float) -> Interval:
    """The percentiles, in points, of differences (B,) in [-1, 1], without those that are NaN."""
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return None, None
    low, high = (np.percentile(known, [(1 - confidence) / 2 * 100, (1 + confidence) / 2 * 100]) * 100).tolist()
    return low, high


def _numbers(results: list[CocoResult], ends: list[Interval]) -> Iterator[Difference]:
    old, new = (result.stats[: len(_COUNTED)] * 100 for result in results)  # COCO's summary begins with them
    for name, before, after, (low, high) in zip(_COUNTED, old.tolist(), new.tolist(), ends, strict=True):
        yield Difference(name=name, old=before, new=after, low=low, high=high)


def _classes(ground_truth: CocoGroundTruth, results: list[CocoResult], ends: list[Interval]) -> Iterator[Difference]:
    names = [ground_truth.category_names[label] for label in ground_truth.category_ids.argsort().tolist()]
    old, new = (result.per_class_ap.tolist() for result in results)
    for name, before, after, (low, high) in zip(names, old, new, ends, strict=True):
        if before >= 0:
            yield Difference(name=name, old=before, new=after, low=low, high=high)


def _moved(ground_truth: CocoGroundTruth, sides: Sequence[MatchedDetections]) -> tuple[ImageChange, ...]:
    apart = [WeightedCurves.by_image(side, images=len(ground_truth)) for side in sides]
    return tuple(sorted(_images(ground_truth, apart), key=_by_image))


def _images(ground_truth: CocoGroundTruth, sides: list[WeightedCurves]) -> Iterator[ImageChange]:
    once = np.ones(len(ground_truth), dtype=np.int64)
    old, new = (side.average_precision(once).mean(axis=0) * 100 for side in sides)  # (I,)
    objects = np.bincount(sides[0].target_image, minlength=len(ground_truth))
    for i in np.flatnonzero((old != new) & (objects > 0)).tolist():
        yield ImageChange(
            image_id=int(ground_truth.image_ids[i]),
            file_name=ground_truth.file_names[i],
            objects=int(objects[i]),
            old=float(old[i]),
            new=float(new[i]),
        )


def _by_class(change: Difference) -> tuple[float, str]:
    return -abs(change.delta), change.name


def _by_image(change: ImageChange) -> tuple[float, int, int]:
    return -abs(change.delta), -change.objects, change.image_id
