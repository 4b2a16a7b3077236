"""Average precision of a data set whose images count several times or not at all, matched only once.

An image that counts w times adds w times its objects, true positives and false positives, at the places in the ranking
where it has them once. Nothing is matched again, so a resample of the images costs a few running sums.

Legend for shapes: D detections, C detections with a match, L curves (one a category, or one an image), I images,
T IoU thresholds, R recall thresholds, N matches of all curves, E detections that count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoo.measure.coco_eval.area_iou_bits import IOU_THRESHOLDS, thresholds_in
from zoo.measure.coco_eval.curves import needed_hits
from zoo.measure.coco_eval.evaluate import MatchedDetections
from zoo.measure.coco_eval.ranking import Floats, Ints

Bools = npt.NDArray[np.bool_]

_ALL = 0  # the area range of objects of every size


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightedCurves:
    """Precision over recall, of objects of every size, to be drawn for any weights of the images.

    Candidates lie curve after curve, best score first. Matches lie threshold after threshold, in each like the
    candidates.

    Attributes:
        curves: L.
        images: I.
        candidate_image: (E,), image of each detection that is a true or a false positive.
        first_candidate: (L,), how many candidates the curves before have.
        match_image: (N,), image of each detection with a match.
        is_true: bool (N,), whether it is a true positive; otherwise its object is to be ignored.
        is_candidate: bool (N,), whether it is a candidate, so that it has to be taken out of the false positives.
        candidates: (N,), how many candidates there are up to it, itself included.
        first_match: (T * L + 1,), where the matches of each threshold and curve begin.
        target_image: (G,), image of each object that counts.
        target_curve: (G,), curve of each object that counts.
    """

    curves: int
    images: int
    candidate_image: Ints
    first_candidate: Ints
    match_image: Ints
    is_true: Bools
    is_candidate: Bools
    candidates: Ints
    first_match: Ints
    target_image: Ints
    target_curve: Ints

    @classmethod
    def by_category(cls, matched: MatchedDetections, *, images: int) -> WeightedCurves:
        """A curve for each category, by ascending id, as COCO draws them."""
        order = np.arange(len(matched.ranking.rank))
        category = matched.ranking.group.astype(np.int64) // images
        targets = matched.targets.group // images
        curves = matched.targets.positives.shape[1]
        return cls._of(matched, order, category, targets, images=images, curves=curves)

    @classmethod
    def by_image(cls, matched: MatchedDetections, *, images: int) -> WeightedCurves:
        """A curve for each image, with the detections of all categories in one order of score."""
        image = matched.ranking.group.astype(np.int64) % images
        order = np.lexsort((-matched.scores[matched.ranking.input_index], image))
        targets = matched.targets.group % images
        return cls._of(matched, order, image[order], targets, images=images, curves=images)

    @classmethod
    def _of(
        cls, matched: MatchedDetections, order: Ints, curve: Ints, target_curve: Ints, *, images: int, curves: int
    ) -> WeightedCurves:
        """The curves of detections in some order (D,), in which their curves (D,) ascend; and of all objects (G,)."""
        ranking, found = matched.ranking, matched.found
        counts = matched.in_area[_ALL] & (ranking.rank < matched.limit)
        candidate = np.flatnonzero(counts[order])
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        position = place[found.position]  # (C,)
        ascending = np.argsort(position)
        position, source = position[ascending], found.position[ascending]
        has_match = thresholds_in(found.matched[ascending], _ALL) & (ranking.rank[source] < matched.limit)
        is_true = has_match & ~thresholds_in(found.ignored[ascending], _ALL)
        threshold, match = np.nonzero(has_match)  # (N,)
        first_match = np.searchsorted(
            threshold * curves + curve[position[match]], np.arange(len(IOU_THRESHOLDS) * curves + 1)
        )
        image, target_image = ranking.group.astype(np.int64) % images, matched.targets.group % images
        positive = ~matched.targets.ignored[_ALL]
        return cls(
            curves=curves,
            images=images,
            candidate_image=image[order[candidate]],
            first_candidate=np.searchsorted(curve[candidate], np.arange(curves)),
            match_image=image[source[match]],
            is_true=is_true[threshold, match],
            is_candidate=counts[source[match]],
            candidates=np.searchsorted(candidate, position[match], side="right"),
            first_match=first_match,
            target_image=target_image[positive],
            target_curve=target_curve[positive],
        )

    def average_precision(self, weights: Ints) -> Floats:
        """Average precision of each threshold and curve, float64 (T, L) in [0, 1]; NaN for a curve without objects.

        Args:
            weights: int64 (I,), how often each image counts.
        """
        positives = np.bincount(self.target_curve, weights[self.target_image], minlength=self.curves).astype(np.int64)
        precision: Floats = self._sampled(weights, positives).mean(axis=2)  # (T, L, R) -> (T, L)
        precision[:, positives == 0] = np.nan
        return precision

    def _sampled(self, weights: Ints, positives: Ints) -> Floats:
        """The best precision at each recall or above, (T, L, R); 0 where it is not reached."""
        weight = weights[self.match_image]
        begin, end = self.first_match[:-1], self.first_match[1:]  # (T * L,)
        true = _running(weight * self.is_true)  # (N + 1,)
        candidates = _running(weights[self.candidate_image])  # (E + 1,)
        taken = _running(weight * self.is_candidate)  # (N + 1,)
        # False positives are the candidates that have no match.
        false_before = np.tile(candidates[self.first_candidate], len(IOU_THRESHOLDS)) - taken[begin]
        matches = end - begin
        hits = true[1:] - np.repeat(true[begin], matches)
        false = candidates[self.candidates] - taken[1:] - np.repeat(false_before, matches)
        # Where an image counts several times, so does the hit, and precision rises from each to the next: the last is
        # the best, and alone is computed. Where an image does not count, it is not above the precision before.
        precision = hits / (false + hits + np.spacing(1))
        total = (true[end] - true[begin]).reshape(-1, self.curves, 1)  # (T, L, 1)
        needed = needed_hits(positives)  # (L, R)
        wanted = true[begin].reshape(total.shape) + np.minimum(needed, np.maximum(total, 1))  # (T, L, R)
        at = np.searchsorted(true[1:], wanted.ravel())
        # As `curves.accumulate` samples them: the best up to the next sample becomes the best up to the curve's end.
        best = np.maximum.reduceat(np.append(precision, 0.0), at).reshape(wanted.shape)
        sampled: Floats = np.maximum.accumulate(best[:, :, ::-1], axis=2)[:, :, ::-1]
        return np.where(needed > total, 0.0, sampled)


def _running(values: Ints) -> Ints:
    """Sums of the values before each position: (N,) -> (N + 1,)."""
    sums = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=sums[1:])
    return sums
