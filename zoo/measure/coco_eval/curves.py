"""Precision over recall, for each category, area range, IoU threshold and limit of detections.

Precision only peaks, and recall only moves, at a true positive. So the curves are computed at true positives alone,
and the false positives between them are counted, never visited (`COCOeval.accumulate` of pycocotools 2.0.11 gives
the arithmetic, which is kept to the bit).

Legend for shapes: D detections, C detections with a match, K categories, A area ranges, T IoU thresholds, R recall
thresholds, M limits of detections, N true positives of all curves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoo.measure.coco_eval.area_iou_bits import IOU_THRESHOLDS, RECALL_THRESHOLDS, thresholds_in
from zoo.measure.coco_eval.ranking import Ints, Places, Ranking

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """The detections that found an object for some area range and threshold, in the order of the ranking.

    Attributes:
        position: (C,), positions in the ranking.
        matched: int64 (C,), bits with a match.
        ignored: int64 (C,), bits whose match is to be ignored.
    """

    position: Ints | Places
    matched: Ints
    ignored: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """-1 where a category has no object that counts.

    Attributes:
        precision: (T, R, K, A, M), the best at this recall or above; 0 where it is not reached.
        recall: (T, K, A, M), the highest that is reached.
        scores: (T, R, K, A, M), the score at which that recall is reached.
    """

    precision: Floats
    recall: Floats
    scores: Floats


def accumulate(
    ranking: Ranking, scores: Floats, in_area: Bools, found: Matched, positives: Ints, limits: Sequence[int]
) -> Curves:
    """Draw all curves.

    Args:
        scores: scores in the order of the input.
        in_area: (A, D), in the same order, whether the detection's area lies in the range; of the first A ranges.
        positives: (A, K), objects that count.
        limits: M numbers of detections considered in one image and category.
    """
    areas, categories = positives.shape
    shape = areas, len(limits), len(IOU_THRESHOLDS), categories  # (A, M, T, K)
    precision, score_at = np.empty((*shape, len(RECALL_THRESHOLDS))), np.empty((*shape, len(RECALL_THRESHOLDS)))
    recall = np.empty(shape)
    ranks = ranking.rank[found.position]
    category = np.searchsorted(ranking.first_of_category, found.position, side="right") - 1  # (C,)
    for a, inside in enumerate(in_area):
        matched = thresholds_in(found.matched, a)  # (T, C)
        true = matched & ~thresholds_in(found.ignored, a)
        accounted = matched & inside[found.position]
        nothing_to_find = positives[a] == 0  # (K,)
        for m, limit in enumerate(limits):
            # False positives are the candidates, within range and limit, that are not matched.
            candidates = _running_count(inside & (ranking.rank < limit))  # (D + 1,)
            kept = ranks < limit
            hits = _true_positives(ranking, candidates, found.position, category, true & kept, accounted & kept)
            _sample(ranking, scores, hits, positives[a], precision[a, m], recall[a, m], score_at[a, m])
            del hits, candidates  # before the next are made
        for curves in (precision, recall, score_at):
            curves[a][:, :, nothing_to_find] = -1
    return Curves(
        precision=precision.transpose(2, 4, 3, 0, 1),
        recall=recall.transpose(2, 3, 0, 1),
        scores=score_at.transpose(2, 4, 3, 0, 1),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hits:
    """True positives, threshold by threshold, category by category, best score first.

    Attributes:
        count: (T, K), true positives of each curve.
        position: (N + 1,), positions in the ranking; a 0 behind them all.
        precision: (N + 1,), precision at this detection; a 0 behind them all.
    """

    count: Ints
    position: Ints | Places
    precision: Floats


def _true_positives(
    ranking: Ranking, candidates: Places, position: Ints | Places, category: Ints, true: Bools, accounted: Bools
) -> _Hits:
    """The true positives of one area range and limit, with the precision at each.

    Args:
        candidates: (D + 1,), detections within range and limit before each.
        position: (C,), positions of the matched detections in the ranking.
        category: (C,), categories of the matched detections.
        true: (T, C), whether they are true positives.
        accounted: (T, C), whether they are candidates, but no false positives.
    """
    categories = len(ranking.first_of_category) - 1
    first = ranking.first_of_category[:-1]
    first_found = np.searchsorted(position, first)  # (K,)
    end, total = 0, np.count_nonzero(true)
    hits = _Hits(
        count=np.empty((len(true), categories), dtype=np.int64),
        position=np.zeros(total + 1, dtype=position.dtype),
        precision=np.zeros(total + 1),
    )
    # One threshold after another: together they need more memory than all the rest.
    for is_true, is_gone, count in zip(true, accounted, hits.count, strict=True):
        gone = _running_count(is_gone)  # (C + 1,)
        hit = np.flatnonzero(is_true)
        count[:] = np.bincount(category[hit], minlength=categories)
        false_so_far = candidates[position[hit] + 1] - gone[hit + 1]
        false_so_far -= (candidates[first] - gone[first_found]).repeat(count)
        true_so_far = np.arange(1, len(hit) + 1) - (np.cumsum(count) - count).repeat(count)
        begin, end = end, end + len(hit)
        hits.position[begin:end] = position[hit]
        hits.precision[begin:end] = true_so_far / (false_so_far + true_so_far + np.spacing(1))
    return hits


def _running_count(flags: Bools) -> Places:
    """How many flags are set before each position of the last axis: (..., N) -> (..., N + 1)."""
    counts = np.zeros((*flags.shape[:-1], flags.shape[-1] + 1), dtype=np.int32)
    np.cumsum(flags, axis=-1, dtype=np.int32, out=counts[..., 1:])
    return counts


def _sample(
    ranking: Ranking, scores: Floats, hits: _Hits, positives: Ints, precision: Floats, recall: Floats, score_at: Floats
) -> None:
    """Fill in the curves of one area range and limit: precision and score (T, K, R), recall (T, K)."""
    begin = (np.cumsum(hits.count) - hits.count.ravel()).reshape(hits.count.shape)
    needed = needed_hits(positives)  # (K, R)
    count = hits.count[:, :, None]  # (T, K, 1)
    missed = needed > count  # (T, K, R)
    # Samples ascend in the flat list of hits; one that is not reached points at its curve's last hit. A curve without
    # hits points at the next curve's first, or at the extra 0 behind them all.
    at = begin[:, :, None] + np.minimum(needed, np.maximum(count, 1)) - 1
    best = np.maximum.reduceat(hits.precision, at.ravel()).reshape(at.shape)
    # The best from one sample to the next has become the best from each sample to the end of its curve.
    np.maximum.accumulate(best[:, :, ::-1], axis=2, out=precision[:, :, ::-1])
    precision[missed] = 0
    score_at[:] = scores[ranking.input_index[hits.position[at]]] if len(ranking.input_index) else 0
    score_at[missed] = 0
    first = ranking.first_of_category
    present = np.flatnonzero(first[1:] > first[:-1])
    score_at[:, present, 0] = scores[
        ranking.input_index[first[present]]
    ]  # recall 0 is reached by the first detection, hit or not
    recall[:] = hits.count / np.maximum(positives, 1)


def needed_hits(positives: Ints) -> Ints:
    """(K, R): how many hits it takes to reach a recall, at least 1; by the rounded quotients hits / positives."""
    total = np.maximum(positives, 1)[:, None]  # (K, 1)
    hits = np.ceil(RECALL_THRESHOLDS * total)  # right, or one off where the product was rounded
    hits -= (hits - 1) / total >= RECALL_THRESHOLDS
    hits += hits / total < RECALL_THRESHOLDS
    return np.maximum(hits, 1).astype(np.int64)
